/**
 * Fairness: one connection must not take an acceptor for itself. The addon handles all requests that stand in one read
 * (up to 512 KiB), then reads the same socket again while there is more; nobody else is served meanwhile, and nothing
 * can make it stop but the end of the connection. So a connection that has had its share of a turn is closed:
 *
 *   pipelined  after TURN_UNITS requests of one connection in one turn of the loop: 429 with Connection: close, behind
 *              every answer that it is owed
 *   unread     a request comes while answers to the ones before it have not been read (hold-back.ts). Of answers
 *              without a body the addon tells nothing; one of some 256 is the last of its connection
 *
 * The addon does not tell connections apart: each request has a response object of its own, and addresses have no port.
 * What tells them is the offset of a response, which the addon resets when the next request of the same connection
 * begins. A response object dies with its answer, so a request that is looked at is routed twice (setYield): the first
 * object is kept, the second one is answered. If the offset of the kept one was positive behind its answer and is zero
 * when a later request is looked at, both requests are of one connection, and so is everything between them, because
 * the addon finishes one socket before the next. A kept object is let go when the turn ends: until then the addon frees
 * no socket, also no closed one. Who waits for 100 Continue gets it twice then, which clients bear (RFC 9110, 15.2).
 *
 * Looking costs a few microseconds. About one request of sixty-four is looked at, by chance: nobody can arrange that it
 * is always somebody else's. Any other request pays for one subtraction.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { problemOf } from '../kernel/errors.ts';
import { writeProblem } from './answer.ts';
import { httpErrors } from './errors.ts';
import { endAfterReading, endAlone, type OnClose } from './hold-back.ts';

/** What one connection may use of a turn of the loop. Clients that pipeline keep 10 to 100 requests under way. */
const TURN_UNITS = 256;
/** A request is one unit, and so are so many bytes of its unpacked body. */
const UNIT_BYTES = 4096;
const LOOK_UNITS = 64;
/**
 * Share of the looks that close a connection if its answer has no body (HEAD, 204): nothing tells whether others in
 * this turn are of the same connection, nor whether it reads. On average it has had TURN_UNITS.
 */
const BLIND_SHARE = LOOK_UNITS / TURN_UNITS;
/**
 * A corked answer that fits the addon's buffer of 16 KiB waits for the end of the read. One that does not fit goes out
 * at once, with all that waits, and its connection is closed right behind it. Blanks behind a JSON text mean nothing.
 */
const PUSH = ' '.repeat(16 * 1024);
const RETRY_AFTER_S = 1;

type AddonHandler = (res: HttpResponse, req: HttpRequest) => void;

interface Looking {
  readonly path: string;
  readonly handler: AddonHandler;
  readonly first: HttpResponse;
}

export class Fairness {
  readonly #onClose: OnClose;
  /** Units until a request is looked at. */
  #left = LOOK_UNITS;
  #interval = LOOK_UNITS;
  /** A request that is being routed for the second time. */
  #looking: Looking | undefined;
  /** The last response that was looked at in this turn. */
  #kept: HttpResponse | undefined;
  /** It has been answered with a body, so its offset is positive until the next request. */
  #answered = false;
  /** Units of one connection in this turn, as far as they are proven. */
  #run = 0;

  constructor(onClose: OnClose) {
    this.#onClose = onClose;
  }

  /** A body of so many bytes was read. */
  spend(bytes: number): void {
    this.#left -= Math.floor(bytes / UNIT_BYTES);
  }

  /**
   * The handler as it is mounted. `last`: on the pattern behind all others, where a request arrives that no other
   * pattern of its path takes.
   */
  guard(path: string, handler: AddonHandler, last = false): AddonHandler {
    return (res, req) => {
      this.#left -= 1;
      if (this.#left < 0) this.#look(res, req, path, handler, last);
      else handler(res, req);
    };
  }

  #look(res: HttpResponse, req: HttpRequest, path: string, handler: AddonHandler, last: boolean): void {
    const looking = this.#looking;
    if (looking === undefined) {
      this.#looking = { path, handler, first: res };
      req.setYield(true);
    } else if (last || looking.path === path) {
      this.#looking = undefined;
      this.#judge(res, req, looking);
      // Where the parameters of the pattern are another's, the request goes on to its own.
    } else req.setYield(true);
  }

  #judge(res: HttpResponse, req: HttpRequest, { first, handler }: Looking): void {
    const same = this.#answered && this.#kept?.getWriteOffset() === 0;
    this.#run = same ? this.#run + this.#interval - this.#left : 0;
    this.#interval = Math.ceil(LOOK_UNITS * (0.5 + Math.random()));
    this.#left = this.#interval;
    if (this.#run >= TURN_UNITS) {
      this.#close(res, first);
      return;
    }
    endAfterReading(res, this.#onClose, () => {
      if (this.#kept === first) this.#answered = true;
    });
    if (Math.random() < BLIND_SHARE)
      endAlone(res, this.#onClose, {
        bare: () => {
          first.close();
        },
      });
    if (this.#kept === undefined) setImmediate(this.#forget);
    this.#kept = first;
    this.#answered = false;
    handler(res, req);
  }

  readonly #forget = (): void => {
    this.#kept = undefined;
    this.#run = 0;
  };

  #close(res: HttpResponse, first: HttpResponse): void {
    this.#kept = undefined;
    this.#run = 0;
    this.#onClose('pipelined');
    const problem = problemOf(httpErrors.BACKPRESSURE, { reason: 'pipelined' });
    writeProblem(res, problem, { retryAfterS: RETRY_AFTER_S, close: true, push: PUSH });
    // Still open when the client does not read.
    first.close();
  }
}
