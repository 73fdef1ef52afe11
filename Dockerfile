# The gate as an image. NODE_IMAGE is any image with Node 24 or later and npm, slim or not.
ARG NODE_IMAGE=docker.io/library/node:24-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc tsconfig.json ./
RUN npm ci --ignore-scripts
COPY src src
RUN npx tsc -p src

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="pullgate" \
      org.opencontainers.image.description="Holds a Kubernetes rollout until its images are on the nodes" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY --from=dependencies /src/node_modules node_modules
COPY --from=build /src/dist dist
COPY package.json ./
COPY deploy deploy
# nonroot of the distroless images; nothing is written, so the root file system can be read-only.
USER 65532:65532
ENTRYPOINT ["node", "dist/main.js"]
