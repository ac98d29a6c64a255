/**
 * A real Apache Kafka 4.1 for tests, benchmarks and the demo: the broker's jars from Maven Central, fetched once into
 * the cache, run in KRaft mode without ZooKeeper or docker. One node is broker and controller in one process; three
 * nodes are three such processes.
 *
 * Each node has three listeners on 127.0.0.1: CLIENT (port; plain, SASL and/or TLS as asked for; may be advertised
 * under another port, so that clients stay behind a fault proxy), CONTROLLER (port + 1), INTERNAL (port + 2, always
 * plain: between the nodes, and for tests to look at what arrived). Node i of three uses port + 4 i.
 *
 * KAFKA_BROKERS, when set, names a cluster to use instead; kill9(), restart(), freeze() then refuse. A test that
 * needs them, or SASL, TLS or properties, asks for `own: true`.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Connection, metadataV12 } from '@platformatic/kafka';
import { ensureCommand } from './apt.ts';
import { once } from './cache.ts';
import { runProgram, ServerProcess, type TestScope, temporaryFolder } from './process.ts';

const KAFKA = '4.1.0';
export const kafkaVersion = KAFKA;
const SLF4J = '1.7.36';

export interface KafkaTls {
  /** PEM: key and certificate chain of the broker. */
  readonly key: string;
  readonly certificate: string;
  /** PEM: who signs clients; when given, clients must show a certificate. */
  readonly clientCa?: string;
}

export interface KafkaOptions {
  /** First port; the cluster uses port .. port + 4 * nodes - 1. */
  readonly port: number;
  readonly nodes?: 1 | 3;
  /** Broker settings, added to ours: { 'message.max.bytes': 10_000 }. */
  readonly properties?: Readonly<Record<string, string | number | boolean>>;
  /** SASL on CLIENT: users of PLAIN and of both SCRAM mechanisms. */
  readonly sasl?: { readonly users: Readonly<Record<string, string>> };
  readonly tls?: KafkaTls;
  /** Port that node 0 tells clients of CLIENT to connect to, for a fault proxy in between. */
  readonly advertisedPort?: number;
  /** A cluster of our own even when KAFKA_BROKERS is set. */
  readonly own?: boolean;
  /** Flags of the Java machine; the default starts quickly, a benchmark gives the compiler its full range. */
  readonly java?: readonly string[];
}

export interface KafkaNode {
  readonly pid: number;
  readonly log: string;
  readonly running: boolean;
  kill9(): Promise<void>;
  /** Ends the node in order; it hands its leaderships over first. */
  stop(): Promise<void>;
  /** Starts it again on the same data, with `properties` added to, or replacing, those before. */
  start(properties?: Readonly<Record<string, string | number | boolean>>): Promise<void>;
  freeze(): void;
  thaw(): void;
}

export interface KafkaCluster {
  /** host:port of the CLIENT listeners. */
  readonly brokers: string[];
  /** host:port of the INTERNAL listeners, always plain and never behind a proxy. */
  readonly internal: string[];
  /** Our processes; empty when KAFKA_BROKERS is used. */
  readonly nodes: KafkaNode[];
  readonly own: boolean;
  kill9(): Promise<void>;
  stop(): Promise<void>;
  /** Starts every node that does not run, and waits until the cluster answers. */
  start(properties?: Readonly<Record<string, string | number | boolean>>): Promise<void>;
  freeze(): void;
  thaw(): void;
}

const fastStart = ['-Xms128m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto'];
/** Java flags for benchmarks: the machine may optimize as it would in production. */
export const benchJava = ['-Xms512m', '-Xmx512m', '-XX:+UseG1GC'];

/** Starts a cluster (or uses KAFKA_BROKERS), ready for requests; it ends with the test. */
export async function startKafka(t: TestScope | undefined, options: KafkaOptions): Promise<KafkaCluster> {
  const borrowed = process.env['KAFKA_BROKERS'];
  if (borrowed && !options.own) return borrowedCluster(borrowed.split(',').map((broker) => broker.trim()));

  const jars = await kafkaJars();
  const flags = [...fastStart, `-XX:SharedArchiveFile=${await loadedClasses(jars, options.port)}`];
  const { folder, remove } = temporaryFolder('ringmain-kafka-');
  const count = options.nodes ?? 1;
  const ids = Array.from({ length: count }, (_, index) => index);
  const clusterId = randomBytes(16).toString('base64url');
  const voters = ids.map((id) => `${id}@127.0.0.1:${options.port + 4 * id + 1}`).join(',');
  const internal = ids.map((id) => `127.0.0.1:${options.port + 4 * id + 2}`);

  const nodes = await Promise.all(
    ids.map(async (id) => {
      const home = join(folder, String(id));
      mkdirSync(home);
      const file = join(home, 'server.properties');
      let properties = serverProperties(options, { id, count, voters, home });
      const write = () =>
        writeFileSync(
          file,
          Object.entries(properties)
            .map(([key, value]) => `${key}=${value}`)
            .join('\n'),
        );
      write();
      const java = javaOf(jars);
      const scram = Object.entries(options.sasl?.users ?? {}).flatMap(([name, password]) =>
        ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
          '--add-scram',
          `${mechanism}=[name=${name},password=${password}]`,
        ]),
      );
      await runProgram(
        'java',
        // With =, for an id may begin with a dash.
        java(flags, 'kafka.tools.StorageTool', ['format', `--cluster-id=${clusterId}`, '-c', file, ...scram]),
      );
      let server: ServerProcess | undefined;
      const launch = () => {
        server = new ServerProcess('java', java(options.java ?? flags, 'kafka.Kafka', [file]), { cwd: home }, folder);
      };
      return {
        launch,
        until: async () => server?.until(() => answers(options.port + 4 * id + 2, count), 180_000),
        get pid() {
          return server?.pid ?? 0;
        },
        get log() {
          return server?.log ?? '';
        },
        get running() {
          return server?.running ?? false;
        },
        kill9: async () => {
          server?.signal('SIGKILL');
          await server?.exited;
        },
        stop: async () => server?.end('SIGTERM'),
        start: async (added?: Readonly<Record<string, string | number | boolean>>) => {
          if (server?.running) await server.end('SIGTERM');
          properties = { ...properties, ...added };
          write();
          launch();
          // One node of three must not wait for the other two.
          await server?.until(() => answers(options.port + 4 * id + 2, 1), 180_000);
        },
        freeze: () => server?.signal('SIGSTOP'),
        thaw: () => server?.signal('SIGCONT'),
      };
    }),
  );
  const kill9 = async () => void (await Promise.all(nodes.map((node) => node.kill9())));
  t?.onTestFinished(async () => {
    await kill9();
    remove();
  });
  for (const node of nodes) node.launch();
  await Promise.all(nodes.map((node) => node.until()));
  return {
    brokers: ids.map(
      (id) => `127.0.0.1:${id === 0 && options.advertisedPort ? options.advertisedPort : options.port + 4 * id}`,
    ),
    internal,
    nodes,
    own: true,
    kill9,
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
    start: async (properties) =>
      void (await Promise.all(nodes.map((node) => (node.running ? undefined : node.start(properties))))),
    freeze: () => {
      for (const node of nodes) node.freeze();
    },
    thaw: () => {
      for (const node of nodes) node.thaw();
    },
  };
}

function serverProperties(
  options: KafkaOptions,
  { id, count, voters, home }: { id: number; count: number; voters: string; home: string },
): Record<string, string | number | boolean> {
  const port = options.port + 4 * id;
  const { sasl, tls } = options;
  const security = sasl ? (tls ? 'SASL_SSL' : 'SASL_PLAINTEXT') : tls ? 'SSL' : 'PLAINTEXT';
  const advertised = id === 0 ? (options.advertisedPort ?? port) : port;
  const replication = Math.min(3, count);
  return {
    'process.roles': 'broker,controller',
    'node.id': id,
    'controller.quorum.voters': voters,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    listeners: `CLIENT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${port + 1},INTERNAL://127.0.0.1:${port + 2}`,
    'advertised.listeners': `CLIENT://127.0.0.1:${advertised},INTERNAL://127.0.0.1:${port + 2}`,
    'listener.security.protocol.map': `CLIENT:${security},CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT`,
    'log.dirs': join(home, 'data'),
    'auto.create.topics.enable': false,
    'offsets.topic.replication.factor': replication,
    'transaction.state.log.replication.factor': replication,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': replication,
    'share.coordinator.state.topic.min.isr': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.num.partitions': 1,
    'group.initial.rebalance.delay.ms': 0,
    // A killed broker's session and its leaderships are given up quickly: three-node tests wait for it.
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 500,
    'log.cleaner.enable': false,
    // A record of a test may say that it is years old, and a sweep may come before it is read.
    'log.retention.ms': -1,
    'num.network.threads': 2,
    'num.io.threads': 2,
    ...(sasl && saslProperties(sasl.users)),
    ...(tls && tlsProperties(tls)),
    ...options.properties,
  };
}

/** Settings of the CLIENT listener for these users; PLAIN's are read at start, SCRAM's live in the cluster's metadata. */
export function saslProperties(users: Readonly<Record<string, string>>): Record<string, string> {
  const plain = Object.entries(users)
    .map(([name, password]) => `user_${name}="${password}"`)
    .join(' ');
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  return {
    'listener.name.client.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.client.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${plain};`,
    'listener.name.client.scram-sha-256.sasl.jaas.config': scram,
    'listener.name.client.scram-sha-512.sasl.jaas.config': scram,
  };
}

function tlsProperties({ key, certificate, clientCa }: KafkaTls): Record<string, string> {
  const oneLine = (pem: string) => pem.trim().replaceAll('\n', '\\n');
  return {
    'listener.name.client.ssl.keystore.type': 'PEM',
    'listener.name.client.ssl.keystore.key': oneLine(key),
    'listener.name.client.ssl.keystore.certificate.chain': oneLine(certificate),
    ...(clientCa && {
      'listener.name.client.ssl.truststore.type': 'PEM',
      'listener.name.client.ssl.truststore.certificates': oneLine(clientCa),
      'listener.name.client.ssl.client.auth': 'required',
    }),
  };
}

/** True when the node answers a metadata request that names a controller and at least `brokersMin` live brokers. */
async function answers(port: number, brokersMin: number): Promise<boolean> {
  const connection = new Connection('ringmain-test', { connectTimeout: 1000, requestTimeout: 2000 });
  connection.on('error', () => {});
  try {
    await connection.connect('127.0.0.1', port);
    const { brokers, controllerId } = await metadataV12.api.async(connection, [], false, false);
    return brokers.length >= brokersMin && controllerId >= 0;
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}

function borrowedCluster(brokers: string[]): KafkaCluster {
  const refuse = (): never => {
    throw new Error('this cluster is not ours (KAFKA_BROKERS): ask for one with own: true');
  };
  return {
    brokers,
    internal: brokers,
    nodes: [],
    own: false,
    kill9: async () => refuse(),
    stop: async () => refuse(),
    start: async () => refuse(),
    freeze: refuse,
    thaw: refuse,
  };
}

/** Words of `java` for a program of these jars. */
const javaOf = (jars: string) => (flags: readonly string[], main: string, args: readonly string[]) => [
  ...flags,
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-cp',
  join(jars, '*'),
  main,
  ...args,
];

/**
 * A class data sharing archive: the broker's classes as they are when it runs, so that a start neither unpacks nor verifies
 * them again; it takes half of the CPU. Made once, by a broker that starts and ends. Source: `java` manual, "Application
 * Class-Data Sharing"; with -Xshare:auto another Java goes without it.
 */
async function loadedClasses(jars: string, port: number): Promise<string> {
  const name = 'classes.jsa';
  const made = await once(`kafka-${KAFKA}-classes`, async (folder) => {
    const home = join(folder, 'broker');
    mkdirSync(home);
    const file = join(home, 'server.properties');
    const place = { id: 0, count: 1, voters: `0@127.0.0.1:${port + 1}`, home };
    const properties = Object.entries(serverProperties({ port }, place));
    writeFileSync(file, properties.map(([key, value]) => `${key}=${value}`).join('\n'));
    const java = javaOf(jars);
    const clusterId = randomBytes(16).toString('base64url');
    await runProgram(
      'java',
      java(fastStart, 'kafka.tools.StorageTool', ['format', `--cluster-id=${clusterId}`, '-c', file]),
    );
    const archive = `-XX:ArchiveClassesAtExit=${join(folder, name)}`;
    const broker = new ServerProcess('java', java([...fastStart, archive], 'kafka.Kafka', [file]), { cwd: home }, home);
    await broker.until(() => answers(port + 2, 1), 120_000);
    await broker.end('SIGTERM', 120_000);
    rmSync(home, { recursive: true, force: true });
    if (!existsSync(join(folder, name))) throw new Error(`java wrote no archive of classes, output:\n${broker.log}`);
  });
  return join(made, name);
}

/** The folder with the broker's jars: resolved by Maven from its configured repository, 43 MB, once. */
async function kafkaJars(): Promise<string> {
  await ensureCommand('java', 'openjdk-17-jre-headless');
  return once(`kafka-${KAFKA}`, async (folder) => {
    await ensureCommand('mvn', 'maven');
    const dependency = (group: string, artifact: string, version: string) =>
      `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
    const pom = join(folder, 'pom.xml');
    writeFileSync(
      pom,
      `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>ringmain.test</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
${dependency('org.apache.kafka', 'kafka_2.13', KAFKA)}
${dependency('org.slf4j', 'slf4j-simple', SLF4J)}
</dependencies></project>`,
    );
    await runProgram('mvn', ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${folder}`], {
      cwd: folder,
    });
    const jars = readdirSync(folder).filter((name) => name.endsWith('.jar'));
    if (!jars.some((name) => name.startsWith('kafka_2.13')))
      throw new Error(`Maven brought no broker: folder=${folder}, jars=${jars.length}`);
  });
}
