/** What the doctor looks at on this machine: disk of the journal, memory, cores, open files. */
import { randomBytes } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, readFileSync, statfsSync, unlinkSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { HEAD_BYTES_MAX } from '../../http/config.ts';
import { existingFolder, formatBytes, GiB, MiB } from '../../kernel/config.ts';
import { error, type Finding, note, ok, warning } from '../../kernel/finding.ts';
import { effectiveQuota } from '../effective.ts';
import { type FileNeeds, fileRoom, openFileLimit } from '../open-files.ts';
import type { FrameValues } from '../values.ts';

/** Node, its threads and the buffers of the sinks, without rings and bodies. */
const BASE_BYTES = 140 * MiB;
const SYNCS = 100;
const SYNC_BYTES = 4096;
/** A disk that never answers must not hold the doctor up for ever. */
const SYNC_MS_MAX = 5000;
/** Every 2xx of ACK=sync waits for one sync: beyond this it is felt. */
const SLOW_SYNC_MS = 50;

/** For people: whole GiB above ten, else whole MiB. */
export function rounded(bytes: number): string {
  const unit = bytes >= 10 * GiB ? GiB : MiB;
  return formatBytes(Math.floor(bytes / unit) * unit);
}

export function* examineJournal(values: Pick<FrameValues, 'engine'>): Generator<Finding> {
  const { journalDir } = values.engine;
  const quota = effectiveQuota(values);
  if (quota === undefined) {
    yield warning(
      'JOURNAL_DIR=off: acknowledged events are lost when this process ends',
      'Set JOURNAL_DIR to a directory on disk.',
    );
    return;
  }
  const folder = existingFolder(journalDir);
  const { bavail, bsize, type } = statfsSync(folder);
  if (type === TMPFS)
    yield warning(
      `${resolve(journalDir)} is on tmpfs, which is memory: it does not survive a restart of the machine`,
      'Mount a disk there.',
    );
  const free = bavail * bsize;
  yield free >= quota
    ? ok(`${rounded(free)} free for a journal of up to ${rounded(quota)} (JOURNAL_MAX_BYTES)`)
    : warning(
        `only ${rounded(free)} free, but the journal may grow to ${rounded(quota)} (JOURNAL_MAX_BYTES)`,
        'Free up space or lower JOURNAL_MAX_BYTES: when the disk is full, requests get 429.',
      );
  yield speed(folder);
}

const TMPFS = 0x0102_1994;

/** Times fdatasync of small writes, in a file of its own that is gone afterwards. */
function speed(folder: string): Finding {
  const path = join(folder, `.ringmain-doctor-${randomBytes(6).toString('hex')}`);
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (cause) {
    return error(
      `${folder} is not writable: ${(cause as NodeJS.ErrnoException).code}`,
      'Make it writable for the user that Ringmain runs as, or change JOURNAL_DIR.',
    );
  }
  const times: number[] = [];
  try {
    const block = Buffer.alloc(SYNC_BYTES, 1);
    for (const begin = performance.now(); times.length < SYNCS && performance.now() - begin < SYNC_MS_MAX; ) {
      const before = performance.now();
      writeSync(file, block);
      fdatasyncSync(file);
      times.push(performance.now() - before);
    }
  } catch (cause) {
    return error(`fdatasync failed in ${folder}: ${(cause as Error).message}`, 'Check the disk (dmesg, SMART).');
  } finally {
    closeSync(file);
    unlinkSync(path);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))]!;
  const text = `fdatasync on the journal's disk: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms`;
  return at(0.99) <= SLOW_SYNC_MS
    ? ok(text)
    : warning(
        text,
        'Use a faster disk; otherwise answers with ACK=sync take that long, and a power failure costs that much.',
      );
}

/** What cgroup v2 grants: `max` is no limit. */
function cgroup(name: string): string | undefined {
  try {
    const path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
    for (const folder of [join('/sys/fs/cgroup', path), '/sys/fs/cgroup']) {
      try {
        return readFileSync(join(folder, name), 'utf8').trim();
      } catch {
        // Inside a container the path of the host is not there; the root is the container's own.
      }
    }
  } catch {
    // No cgroups here.
  }
  return undefined;
}

export function* examineMachine(values: FrameValues, needs: FileNeeds): Generator<Finding> {
  const { acceptors } = needs;
  const cores = availableParallelism();
  const quota = /^(\d+) (\d+)$/.exec(cgroup('cpu.max') ?? '');
  const granted = quota === null ? cores : Math.min(cores, Number(quota[1]) / Number(quota[2]));
  yield acceptors < granted || cores === 1
    ? ok(`acceptors: ${acceptors} on ${granted} cores`)
    : warning(
        `acceptors: ${acceptors} on ${granted} cores leave no core for the sinks`,
        'Lower ACCEPTORS, or grant more cores.',
      );
  const wanted = BASE_BYTES + acceptors * (values.engine.ringBytes + values.http.bodyMemoryBytes);
  const heads = values.http.maxConnections * HEAD_BYTES_MAX;
  yield* memoryFindings(wanted, heads, Number(cgroup('memory.max') ?? Number.NaN));
  yield filesFinding(needs, openFileLimit());
}

/** `wanted`: bytes needed at most; `heads`: what unfinished request heads may take beside them. NaN: no limit. */
export function* memoryFindings(wanted: number, heads: number, limit: number): Generator<Finding> {
  if (!Number.isFinite(limit)) {
    yield note(`memory: about ${rounded(wanted)} needed at most; no cgroup limit`);
    return;
  }
  if (wanted > limit) {
    yield error(
      `memory: up to about ${rounded(wanted)} may be needed, but the cgroup limit is ${rounded(limit)}`,
      'Raise the limit, or lower ACCEPTORS, RING_BYTES or BODY_MEMORY_BYTES: the kernel would kill the process.',
    );
    return;
  }
  yield ok(`memory: about ${rounded(wanted)} needed at most, limit ${rounded(limit)}`);
  if (wanted + heads > limit)
    yield note(
      `an attacker who keeps MAX_CONNECTIONS request heads open may take ${rounded(heads)} more; ` +
        'lower it if that matters',
    );
}

/** Judges as the start does: what it only logs is no more here. */
export function filesFinding(needs: FileNeeds, limit: number): Finding {
  const { own, connections, shortage } = fileRoom(needs, limit);
  if (shortage === undefined)
    return ok(`open-file limit: ${limit}, enough for ${connections} connections (MAX_CONNECTIONS) and ${own} files`);
  const { severity, text } = shortage;
  if (severity === 'note') return note(text);
  return { severity, text, advice: 'Raise LimitNOFILE (systemd) or ulimit -n, or lower MAX_CONNECTIONS.' };
}
