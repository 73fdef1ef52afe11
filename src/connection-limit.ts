import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { largestShare } from './cluster/by-namespace.ts';

/** The connections of one peer by its port. The one that has been quiet for the longest comes first. */
type Connections = Map<number, Connection>;

interface Connection {
  readonly socket: Socket;
  /** The last one. */
  readonly request?: IncomingMessage;
  readonly response?: ServerResponse;
}

/**
 * Shares `max` connections among peers, so that strangers keep out neither API servers nor kubelets nor Prometheus.
 *
 * - A peer that has as many as are free gets no more of those. So one peer alone holds half of them at most.
 * - It takes the place of a connection of the peer with the most, if that peer has more than it has. So ten pods cannot hold all of
 *   them: each peer gets its share. A connection whose request is being answered is not closed.
 *
 * @param onClosed called with the peer that has lost a connection, or got none
 */
export function limitConnections(server: Server, max: number, onClosed: (peer: string) => void): void {
  const byPeer = new Map<string, Connections>();
  let open = 0;

  function remove(peer: string, port: number, socket: Socket): void {
    const connections = byPeer.get(peer);
    if (connections?.get(port)?.socket !== socket) return;
    connections.delete(port);
    open -= 1;
    if (connections.size === 0) byPeer.delete(peer);
  }

  /** Closes a connection of the peer with the most. Returns false if no peer has more than `count`, or all of its requests are being answered. */
  function takeOne(count: number): boolean {
    const [peer = '', connections] = largestShare(byPeer, ({ size }) => size) ?? [];
    if (connections === undefined || connections.size <= count) return false;
    for (const [port, connection] of connections) {
      if (isAnswering(connection)) continue;
      const { socket } = connection;
      remove(peer, port, socket);
      socket.destroy();
      onClosed(peer);
      return true;
    }
    return false;
  }

  server.on('connection', (socket: Socket) => {
    const { remoteAddress: peer = '', remotePort: port = 0 } = socket;
    const count = byPeer.get(peer)?.size ?? 0;
    if (count >= max - open && !takeOne(count)) {
      socket.destroy();
      onClosed(peer);
      return;
    }
    open += 1;
    byPeer.set(peer, (byPeer.get(peer) ?? new Map()).set(port, { socket }));
    socket.once('close', () => remove(peer, port, socket));
  });

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { remoteAddress: peer = '', remotePort: port = 0 } = request.socket;
    const connections = byPeer.get(peer);
    const connection = connections?.get(port);
    if (connections === undefined || connection === undefined) return;
    connections.delete(port);
    connections.set(port, { socket: connection.socket, request, response });
  });
}

function isAnswering({ request, response }: Connection): boolean {
  return request?.complete === true && response?.closed === false;
}
