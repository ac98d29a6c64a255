/** The contract over a fake lane, on a real uWebSockets.js server in this process. */
import './head-limit.ts';
import { test } from 'vitest';
import { freePort } from '../http/raw.ts';
import { fileScope } from '../servers/scope.ts';
import { collectCases } from './cases-collect.ts';
import { pixelCases } from './cases-pixel.ts';
import { wireCases } from './cases-wire.ts';
import { Cases, Client, type Options } from './contract.ts';
import { type Rig, startRig } from './rig.ts';

const rigs = new Map<string, Promise<Rig>>();
const file = fileScope();

function rigFor(options: Options): Promise<Rig> {
  const key = JSON.stringify(options);
  let rig = rigs.get(key);
  if (rig === undefined) {
    rig = freePort(21220 + rigs.size).then((port) => startRig(file, port, { env: options }));
    rigs.set(key, rig);
  }
  return rig;
}

const cases = new Cases();
pixelCases(cases);
collectCases(cases);
wireCases(cases);
for (const { name, options, run } of cases.all) {
  test(name, async () => {
    const { port, lane } = await rigFor(options);
    await run(new Client({ port, lines: () => lane.lines }));
  });
}
