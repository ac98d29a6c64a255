/**
 * Single request: the only one of its connection (PROXY_PROTOCOL). An answer whose body is written piece by piece
 * cannot ask the addon to close behind it (reply-stream.ts), so such a request is routed twice (setYield): the response
 * object of the first time is kept until the answer has ended, and closes the connection then. Other requests cost
 * nothing.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { endAlone, type OnClose } from './hold-back.ts';

type AddonHandler = (res: HttpResponse, req: HttpRequest) => void;

interface Looking {
  readonly path: string;
  readonly handler: AddonHandler;
  readonly first: HttpResponse;
}

export class SingleRequest {
  readonly #onClose: OnClose;
  /** A request that is being routed for the second time. */
  #looking: Looking | undefined;

  constructor(onClose: OnClose) {
    this.#onClose = onClose;
  }

  /**
   * The handler as it is mounted. `streams`: its answers may be written piece by piece. `last`: on the pattern behind
   * all others, where a request arrives that no other pattern of its path takes.
   */
  guard(path: string, handler: AddonHandler, streams: boolean, last: boolean): AddonHandler {
    return (res, req) => {
      const looking = this.#looking;
      if (looking === undefined && streams) {
        this.#looking = { path, handler, first: res };
        req.setYield(true);
      } else if (looking === undefined) {
        endAlone(res, this.#onClose);
        handler(res, req);
      } else if (last || looking.path === path) {
        this.#looking = undefined;
        const { first } = looking;
        endAlone(res, this.#onClose, {
          streamed: () => {
            first.close();
          },
        });
        looking.handler(res, req);
      } else req.setYield(true);
    };
  }
}
