/** An image reference, taken apart the way containerd and Docker do (github.com/distribution/reference). */
export interface ImageReference {
  readonly domain: string;
  readonly path: string;
  readonly tag?: string;
  readonly digest?: string;
}

const DOMAIN_PART = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(`^(?:${DOMAIN_PART}(?:\\.${DOMAIN_PART})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?$`);
const PATH_PART = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${PATH_PART}(?:/${PATH_PART})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$/;
/** The longest name the reference grammar allows. */
const NAME_LIMIT = 255;
/** Of a name, a tag and the longest digest there is (sha512). On megabytes the expressions above run out of stack. */
export const REFERENCE_LIMIT = NAME_LIMIT + 1 + 128 + 1 + 135;

/** `undefined` for what the kubelet would answer InvalidImageName to. */
export function parseImageReference(text: string): ImageReference | undefined {
  if (text.length > REFERENCE_LIMIT) return undefined;
  const atSign = text.indexOf('@');
  const digest = atSign < 0 ? undefined : text.slice(atSign + 1);
  let name = atSign < 0 ? text : text.slice(0, atSign);
  let tag: string | undefined;
  const colon = name.lastIndexOf(':');
  if (colon > name.lastIndexOf('/')) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
  }
  if (tag !== undefined && !TAG.test(tag)) return undefined;
  if (digest !== undefined && !DIGEST.test(digest)) return undefined;

  const { domain, path } = splitDomain(name);
  if (!DOMAIN.test(domain) || !PATH.test(path) || domain.length + path.length + 1 > NAME_LIMIT)
    return undefined;
  return { domain, path, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** The first part is a domain only if it could not be a path: it has a dot or a port, or is `localhost`. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  if (slash < 0 || !(/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())) {
    return { domain: 'docker.io', path: slash < 0 ? `library/${name}` : name };
  }
  const path = name.slice(slash + 1);
  if (first !== 'docker.io' && first !== 'index.docker.io') return { domain: first, path };
  return { domain: 'docker.io', path: path.includes('/') ? path : `library/${path}` };
}

/**
 * The full name: `busybox` is `docker.io/library/busybox:latest`. Two references with the same full name are the
 * same image to a kubelet. A text that is no reference is returned as it is: only the kubelet refuses it.
 */
export function normalizeImage(text: string): string {
  const reference = parseImageReference(text);
  if (reference === undefined) return text;
  const { domain, path, tag, digest } = reference;
  const name = `${domain}/${path}`;
  if (digest !== undefined) return `${name}${tag === undefined ? '' : `:${tag}`}@${digest}`;
  return `${name}:${tag ?? 'latest'}`;
}
