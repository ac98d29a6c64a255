/**
 * Goal: a question that is not answered says what it has left. Method: an asker and an answerer in one thread, with a
 * channel between them, as main gives them one.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { Answerer, Asker } from '../../src/service/calls.ts';

interface Line {
  readonly asker: Asker;
  readonly answerer: Answerer;
  readonly far: MessagePort;
}

function line(): Line {
  const [asker, answerer, { port1, port2: far }] = [new Asker(), new Answerer(), new MessageChannel()];
  asker.connect({ connect: port1, worker: 'query' });
  answerer.connect({ connect: far });
  return { asker, answerer, far };
}
const failed = (asked: Promise<unknown>): Promise<unknown> => asked.catch(({ code, message }) => [code, message]);

test('an answer that does not come in time: a read may be asked again, of a change nobody knows', async () => {
  const { asker } = line();
  const [read, change] = [asker.ask('query', 'sum', 0, 'reads'), asker.ask('query', 'add', 0, 'changes')];
  const later = failed(asker.ask('query', 'more', 60_000, 'reads'));
  const said = Promise.all([failed(read), failed(change)]);
  asker.tick();
  expect(await said).toEqual([
    ['WORKER_TIMEOUT', 'the answer did not come in time: worker=query; nothing was changed, ask again'],
    ['WORKER_TIMEOUT', 'the answer did not come in time: worker=query; the outcome is unknown'],
  ]);
  expect(asker.waiting).toBe(1);
  asker.close();
  await later;
});

test('a worker that dies: what waits for it is told the same, what comes later was not done', async () => {
  const { asker, far } = line();
  const said = Promise.all([
    failed(asker.ask('query', 'sum', 60_000, 'reads')),
    failed(asker.ask('query', 'add', 60_000, 'changes')),
  ]);
  far.close();
  expect(await said).toEqual([
    ['WORKER_GONE', 'the worker is not running: worker=query; nothing was changed, ask again'],
    ['WORKER_GONE', 'the worker is not running: worker=query; the outcome is unknown'],
  ]);
  expect(await failed(asker.ask('query', 'add', 60_000, 'changes'))).toEqual([
    'WORKER_GONE',
    'the worker is not running: worker=query; nothing was done, ask again',
  ]);
});

test('a question that leaves its place lets the next one in, and is waited for at the end all the same', async () => {
  const { asker, answerer } = line();
  const [held, second, begun] = [
    Promise.withResolvers<string>(),
    Promise.withResolvers<string>(),
    Promise.withResolvers<void>(),
  ];
  const order: unknown[] = [];
  answerer.serve((question, leave) => {
    order.push(question);
    if (question === 'second') {
      begun.resolve();
      return second.promise;
    }
    if (question !== 'held') return question;
    leave();
    leave();
    return held.promise;
  }, 1);
  const ask = (question: string): Promise<unknown> => asker.ask('query', question, 60_000, 'reads');
  const first = ask('held');
  expect(await ask('next')).toBe('next');
  let settled = false;
  const end = answerer.settled().then(() => (settled = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(settled).toBe(false);
  const [other, last] = [ask('second'), ask('last')];
  await begun.promise;
  await new Promise((resolve) => setImmediate(resolve));
  // It has no second place to give when it is answered.
  held.resolve('done');
  expect(await first).toBe('done');
  expect(order).toEqual(['held', 'next', 'second']);
  second.resolve('two');
  expect(await Promise.all([other, last])).toEqual(['two', 'last']);
  await end;
  asker.close();
});

test('an answer comes, also one that is an error of the worker', async () => {
  const { asker, answerer } = line();
  answerer.serve((question) => {
    if (question === 'wrong') throw new Error('no such thing');
    return `${question}!`;
  });
  const asked = [asker.ask('query', 'one', 60_000, 'reads'), failed(asker.ask('query', 'wrong', 60_000, 'reads'))];
  expect(await asked[0]).toBe('one!');
  expect(await asked[1]).toEqual([undefined, expect.stringMatching(/^Error: no such thing/)]);
  asker.close();
});
