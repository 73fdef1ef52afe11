import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { GateError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import { ADMIT_PATHS } from './paths.ts';
import { BODY_LIMIT } from './review-body.ts';

/** In seconds. API servers retry after that, until the timeout of the webhook (client-go, with_retry.go). */
const RETRY_AFTER = '1';

/** Aborts a look-up whose caller has disconnected. It is not logged, because it is no failure. */
export const CALLER_GONE = new Error('the caller does not wait for the answer any more');

interface ErrorAnswers {
  answerError(error: Error, request: FastifyRequest, reply: FastifyReply): void;
  /** Answers what the HTTP parser refuses before there is a request, such as a head that is too large. */
  answerNoRequest(error: Error & { readonly code?: string }, socket: Socket): void;
}

/** Answers errors as a `Status`, and logs one line of each kind a minute, because any stranger can cause errors. */
export function createErrorAnswers(log: Logger, limitLog: LogLimit): ErrorAnswers {
  return {
    answerError(error, request, reply) {
      const answer = error instanceof GateError ? error : gateError(error, request);
      const { code, body } = statusOf(answer);
      if (error !== CALLER_GONE)
        limitLog(answer.code, (fields) => {
          if (code === 500) log.error({ ...fields, err: error }, answer.message);
          else log.warn({ ...fields, code: answer.code, peer: request.ip }, answer.message);
        });
      if (code === 405) reply.header('allow', 'POST');
      if (code === 503) reply.header('retry-after', RETRY_AFTER);
      // What is left of the body is not read.
      reply.header('connection', 'close');
      void reply.code(code).send(body);
    },

    answerNoRequest(error, socket) {
      // Nobody is there to read the answer.
      if (error.code === 'ECONNRESET' || !socket.writable) {
        socket.destroy();
        return;
      }
      const answer = new GateError('PG_REQUEST_NOT_HTTP', { detail: error.message });
      limitLog(answer.code, (fields) =>
        log.warn({ ...fields, code: answer.code, peer: socket.remoteAddress }, answer.message),
      );
      const { body, code } = statusOf(answer);
      const text = JSON.stringify(body);
      socket.end(
        `HTTP/1.1 ${code} Bad Request\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
      );
    },
  };
}

/** No such path, or not by this method. */
export function notFound({ method, url }: FastifyRequest): GateError {
  const path = url.replace(/\?.*/s, '');
  return new GateError(ADMIT_PATHS.has(path) ? 'PG_METHOD' : 'PG_NOT_FOUND', { method, path });
}

/** As API servers word their errors, so that they can pass it on. */
function statusOf({ status: code = 500, message }: GateError): {
  readonly code: number;
  readonly body: object;
} {
  return { code, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, code } };
}

/** Translates an error of Fastify into an entry of the error table. */
function gateError(error: Partial<FastifyError> & Error, request: FastifyRequest): GateError {
  // Fastify reads the body there too, and it may be as wrong as the path.
  if (request.is404) return notFound(request);
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new GateError('PG_BODY_TOO_LARGE', { limit: BODY_LIMIT });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new GateError('PG_CONTENT_TYPE', { contentType: request.headers['content-type'] ?? '(none)' });
    case 'FST_ERR_BAD_URL':
      return notFound(request);
    default:
      // Fastify's own words for an empty body, one that does not parse, or one that ended early.
      if (error.statusCode === 400) return new GateError('PG_BODY_NOT_JSON', { detail: error.message });
      return new GateError('PG_INTERNAL', { detail: error.message }, error);
  }
}
