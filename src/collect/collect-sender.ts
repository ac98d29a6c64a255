/** Collect sender: who sends a body of POST /collect, as the encoder of the event model wants it, and its cookie. */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { CollectResult } from '../events/collect-encoder.ts';
import { blankOrigin, type Origin } from '../events/origin.ts';
import type { Track, Visitor } from '../visitor/visitor.ts';
import type { Sender } from './batch-route.ts';

interface CollectInput extends Origin {
  /** A new sid's cookie may say Secure. */
  overTls: boolean;
}

export class CollectSender implements Sender<CollectInput, CollectResult> {
  readonly #visitor: Visitor;
  readonly #source: number;

  /** `source`: source id of the records. */
  constructor(visitor: Visitor, source: number) {
    this.#visitor = visitor;
    this.#source = source;
  }

  make(): CollectInput {
    return { ...blankOrigin(this.#source), overTls: false };
  }

  track(req: HttpRequest): Track {
    return this.#visitor.track(req);
  }

  read(res: HttpResponse, req: HttpRequest, anonymous: boolean, nowMs: number, input: CollectInput): void {
    this.#visitor.read(res, req, anonymous, nowMs, input);
    input.overTls = input.mintSid && this.#visitor.overTls(req);
  }

  cookieLine({ mintedSid }: CollectResult, { overTls }: CollectInput): string {
    return mintedSid === '' ? '' : this.#visitor.cookieLine(mintedSid, overTls);
  }
}
