/**
 * YAML file: the format of --config, read strictly, so that a mistake is a message and not a surprise.
 *
 *   kafka:                        a section; the reference names the path of each option (`kafka.brokers`)
 *     brokers: [a:9092, b:9092]   options that take lists also take `a:9092,b:9092`
 *     linger_ms: 5                the text is read like the text of a variable: 5, 5ms, "5ms"
 *     sasl_password_file: /x      secrets: the value is that file's content
 *   engine:
 *     ack_timeout_ms:             empty: the option is not set here
 *
 * The file is one document of YAML 1.2 in UTF-8. An unknown key is refused with the nearest known one, and so is a key
 * that appears twice. The file is plain data: anchors, aliases, tags and merge keys are refused, so nothing can grow
 * while it is read. The depth is checked before the tree is built, because the library builds it recursively. Messages
 * name file, line and column. They never quote the text of a syntax error, because it may be a secret.
 *
 * Every thread loads the room of the options, and the library takes 11 MiB: it is loaded when a file is read.
 */
import { createRequire } from 'node:module';
import type { Document, ErrorCode, Node, Scalar, YAMLMap } from 'yaml';
import type { Collection } from './given.ts';
import { nearest } from './nearest.ts';

const require = createRequire(import.meta.url);
/** Set by parseYamlFile, before anything below uses it. */
let yaml: typeof import('yaml');

/** Collections within collections. An option's own value needs a handful. */
const DEPTH_MAX = 32;

/** The value at one path. */
export interface YamlEntry {
  readonly text: string;
  /** 'ringmain.yaml:3:15' */
  readonly from: string;
  readonly collection?: Collection;
}
export interface YamlFile {
  readonly entries: ReadonlyMap<string, YamlEntry>;
  /** One line each, with file, line and column; empty when the file is well-formed and knows every key. */
  readonly problems: readonly string[];
}

/** Instead of messages of the library that quote the file, which may hold a secret, or speak of the library itself. */
const ownWords: Partial<Record<ErrorCode, string>> = {
  BAD_DIRECTIVE: 'directives are not supported',
  BAD_DQ_ESCAPE: 'unknown escape in "..."',
  DUPLICATE_KEY: 'duplicate key',
  MULTIPLE_DOCS: 'the file must contain a single document',
};

/** Which paths there are, and how the same options are called elsewhere. */
export interface YamlNames {
  readonly paths: ReadonlySet<string>;
  /** KAFKA_BROKERS -> kafka.brokers, for the hint to somebody who writes the variable's name. */
  readonly byName: ReadonlyMap<string, string>;
}

/** Reads the text of a YAML file. `file` is what the messages call it. */
export function parseYamlFile(text: string, file: string, names: YamlNames): YamlFile {
  yaml ??= require('yaml') as typeof import('yaml');
  if (isTooDeep(text)) {
    return { entries: new Map(), problems: [`${file}: a value must be at most ${DEPTH_MAX} levels deep`] };
  }
  return new YamlReading(text, file, names).read();
}

/** The parser keeps its open collections on a stack of its own: its height is the depth, whatever the spelling. */
function isTooDeep(text: string): boolean {
  const parser = new yaml.Parser();
  for (const lexeme of new yaml.Lexer().lex(text)) {
    for (const _ of parser.next(lexeme));
    // Document and pair stand on the stack as well.
    if (parser.stack.length > DEPTH_MAX + 2) return true;
  }
  return false;
}

class YamlReading {
  readonly #file: string;
  readonly #names: YamlNames;
  readonly #sections: ReadonlySet<string>;
  readonly #lines = new yaml.LineCounter();
  readonly #document: Document.Parsed;
  readonly #entries = new Map<string, YamlEntry>();
  readonly #problems: string[] = [];

  constructor(text: string, file: string, names: YamlNames) {
    this.#file = file;
    this.#names = names;
    this.#sections = new Set([...names.paths].flatMap(sectionsOf));
    this.#document = yaml.parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      schema: 'core',
      stringKeys: true,
      uniqueKeys: true,
    });
  }

  read(): YamlFile {
    const { errors, warnings, contents } = this.#document;
    for (const { code, message, pos } of [...errors, ...warnings]) {
      this.#problems.push(`${this.#at(pos[0])}: ${ownWords[code] ?? message.replace(/: .*$/s, '')}`);
    }
    yaml.visit(this.#document, {
      Node: (_, node) => {
        const problem = plainDataProblem(node);
        if (problem) this.#problems.push(`${this.#atNode(node)}: ${problem}`);
      },
    });
    // Keys of a tree that is only half understood would be complaints about what nobody wrote.
    if (this.#problems.length > 0) return { entries: new Map(), problems: this.#problems };
    if (yaml.isMap(contents)) this.#section(contents, '');
    else if (!isEmpty(contents)) {
      this.#problems.push(
        `${this.#atNode(contents)}: the file must consist of sections of options: found ${shapeOf(contents)}`,
      );
    }
    return { entries: this.#entries, problems: this.#problems };
  }

  #section(section: YAMLMap, prefix: string): void {
    for (const { key, value } of section.items as { key: Scalar<string>; value: Node | null }[]) {
      const path = `${prefix}${key.value}`;
      if (this.#names.paths.has(path)) this.#option(path, value);
      else if (!this.#sections.has(path)) this.#problems.push(`${this.#atNode(key)}: ${this.#unknown(path)}`);
      else if (yaml.isMap(value)) this.#section(value, `${path}.`);
      else if (!isEmpty(value)) {
        this.#problems.push(`${this.#atNode(value)}: ${path} must be a section of options: found ${shapeOf(value)}`);
      }
    }
  }

  #option(path: string, value: Node | null): void {
    if (isEmpty(value)) return;
    const from = this.#atNode(value);
    if (yaml.isScalar(value)) {
      this.#entries.set(path, { text: textOf(value), from });
      return;
    }
    const items = yaml.isSeq<Node>(value) && value.items.every((item) => yaml.isScalar(item) && item.value !== null);
    const collection: Collection = {
      value: value.toJS(this.#document),
      items: items ? (value.items as Scalar[]).map(textOf) : undefined,
      shape: shapeOf(value),
      at: (within) => this.#atNode(this.#nearestNode(value, within)),
    };
    this.#entries.set(path, { text: JSON.stringify(collection.value), from, collection });
  }

  /** The node at a path below a value, or the last one on the way to it. */
  #nearestNode(value: Node, path: readonly (string | number)[]): Node {
    let node = value;
    for (const step of path) {
      const next = yaml.isMap(node) || yaml.isSeq(node) ? node.get(step, true) : undefined;
      if (!next) return node;
      node = next as Node;
    }
    return node;
  }

  #unknown(path: string): string {
    const found = `${path} is not an option`;
    const known = [...this.#names.paths, ...this.#sections];
    const section = path.slice(0, path.lastIndexOf('.') + 1);
    const key = path.slice(section.length);
    const siblings = known
      .filter((other) => other.startsWith(section) && !other.slice(section.length).includes('.'))
      .map((other) => other.slice(section.length));
    const sibling = nearest(key, siblings);
    const meant =
      this.#names.byName.get(key.toUpperCase().replaceAll('-', '_')) ??
      (sibling === undefined ? nearest(path, known) : `${section}${sibling}`);
    return meant === undefined ? found : `${found}: did you mean ${meant}?`;
  }

  #atNode(node: Node | null): string {
    return this.#at(node?.range?.[0] ?? 0);
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }
}

/** What keeps a node from being plain data. */
function plainDataProblem(node: Node): string | undefined {
  if (yaml.isAlias(node)) return 'an alias is not supported: write the value out';
  if (node.anchor !== undefined) return 'an anchor is not supported: no alias may refer to it';
  if (node.tag !== undefined) return 'a tag is not supported: every option knows its type';
  return undefined;
}

function isEmpty(node: Node | null): node is null {
  return node === null || (yaml.isScalar(node) && (node.value === null || node.value === ''));
}

/** The text that stands there: 1e3 stays 1e3, 007 stays 007. */
function textOf(node: Scalar): string {
  return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
}

function shapeOf(node: Node | null): string {
  return yaml.isMap(node) ? 'a mapping' : yaml.isSeq(node) ? 'a list' : 'a single value';
}

/** kafka.tls.ca -> kafka, kafka.tls */
function sectionsOf(path: string): readonly string[] {
  const parts = path.split('.');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'));
}
