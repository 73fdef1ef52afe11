import type { Server, Socket } from 'node:net';

/**
 * Closes new connections of a peer that has as many as are free already. So one peer alone holds half of `max` at most, and
 * the next one finds a place: a stranger cannot keep out API servers, kubelets or Prometheus.
 */
export function limitConnections(server: Server, max: number, onRefused: (peer: string) => void): void {
  const byPeer = new Map<string, number>();
  let open = 0;
  server.on('connection', (socket: Socket) => {
    const peer = socket.remoteAddress ?? '';
    const ofPeer = byPeer.get(peer) ?? 0;
    if (ofPeer >= max - open) {
      socket.destroy();
      onRefused(peer);
      return;
    }
    open += 1;
    byPeer.set(peer, ofPeer + 1);
    socket.once('close', () => {
      open -= 1;
      const left = (byPeer.get(peer) ?? 0) - 1;
      if (left > 0) byPeer.set(peer, left);
      else byPeer.delete(peer);
    });
  });
}
