/**
 * Goal: a connection that is of no use any more ends, whatever its server does: the driver binds again behind it.
 * Method: servers that stand still in one way each.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Command, encodePdu } from '../../../src/sms/operators/smpp/pdu.ts';
import { Session } from '../../../src/sms/operators/smpp/session.ts';

/** A session with a server that does `act`; why it has ended, once it has. */
async function sessionWith(act: (socket: Socket) => void, enquireLinkMs: number) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    act(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const session = await Session.open({
    ...{ url: `smpp://127.0.0.1:${port}`, connectMs: 10_000 },
    // Nothing ends because an answer is late.
    ...{ answerMs: 600_000, enquireLinkMs },
  });
  let ended: string | undefined;
  void session.closed.then((reason) => {
    ended = reason;
  });
  onTestFinished(() => session.destroy('the test ends'));
  return { session, ended: () => ended };
}

test('a server that unbinds and keeps its side of the connection open', async () => {
  const answers: Buffer[] = [];
  const { ended } = await sessionWith((socket) => {
    socket.on('data', (chunk: Buffer) => answers.push(chunk));
    socket.write(encodePdu(Command.UNBIND, 7));
  }, 600_000);
  await expect.poll(ended).toBe('the server unbound');
  expect(Buffer.concat(answers)).toEqual(encodePdu(0x80000006, 7));
});

test('a server that reads nothing any more', async () => {
  const { session, ended } = await sessionWith((socket) => void socket.pause(), 100);
  const body = [Buffer.alloc(60_000)];
  let refused: string | undefined;
  const fill = (): string | undefined => {
    if (refused !== undefined) return refused;
    void session.request(Command.SUBMIT_SM, body).then((answered) => {
      if (answered.kind === 'unsent') refused = answered.reason;
    });
    return undefined;
  };
  await expect.poll(fill, { interval: 1 }).toBe('the server reads nothing');
  await expect.poll(ended).toBe('the server reads nothing');
});
