/** An API server, and the account that Pullgate uses there. */
export interface Cluster {
  /** What the operator calls it: the kubeconfig's context. */
  readonly name: string;
  /** `https://host:port`, with a path if the API server is behind one. */
  readonly server: string;
  /** PEM. Without it the certificate authorities of Node count. */
  readonly ca?: string | undefined;
  readonly skipTlsVerify?: boolean | undefined;
  /** Name that the server's certificate must be for, when it is not the host of `server`. */
  readonly serverName?: string | undefined;
  /** Client certificate and key, PEM. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Sent with each request: basic authentication, impersonation. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The current bearer token, `undefined` where another credential is used. Cheap: asked for each request. */
  token(): Promise<string | undefined>;
  /** The server refused this token. The next `token()` gets another one, unless that has already happened. */
  invalidateToken?(refused: string | undefined): void;
}
