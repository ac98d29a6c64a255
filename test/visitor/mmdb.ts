/**
 * A small MaxMind database, made for tests: IPv4 networks, each with a record of strings, maps and arrays. The format is
 * MaxMind DB 2.0: a binary search tree of 24-bit nodes, 16 zero bytes, a data section, a marker, the metadata map.
 */
type Value = string | number | readonly Value[] | { readonly [key: string]: Value };

function control(type: number, size: number): Buffer {
  if (size >= 29) throw new RangeError('values of this writer are short');
  return type <= 7 ? Buffer.from([(type << 5) | size]) : Buffer.from([size, type - 7]);
}

function encode(value: Value): Buffer {
  if (typeof value === 'string') return Buffer.concat([control(2, Buffer.byteLength(value)), Buffer.from(value)]);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([control(6, 4), bytes]);
  }
  if (Array.isArray(value))
    return Buffer.concat([control(11, value.length), ...value.map((item: Value) => encode(item))]);
  const entries = Object.entries(value as Record<string, Value>);
  return Buffer.concat([control(7, entries.length), ...entries.flatMap(([key, item]) => [encode(key), encode(item)])]);
}

/** Builds the file. `networks`: '203.0.113.0/24' to its record. */
export function buildMmdb(networks: Readonly<Record<string, Value>>): Buffer {
  // A node is two children: a node's number, or -1 for nothing, or -2 - offset for data.
  const nodes: [number, number][] = [[-1, -1]];
  const data: Buffer[] = [];
  let dataBytes = 0;
  for (const [network, record] of Object.entries(networks)) {
    const [address, bits] = network.split('/') as [string, string];
    const word = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    let node = 0;
    for (let bit = 0; bit < Number(bits) - 1; bit++) {
      const side = (word / 2 ** (31 - bit)) & 1;
      if (nodes[node]![side]! < 0) {
        nodes.push([-1, -1]);
        nodes[node]![side] = nodes.length - 1;
      }
      node = nodes[node]![side]!;
    }
    const bytes = encode(record);
    nodes[node]![(word / 2 ** (32 - Number(bits))) & 1] = -2 - dataBytes;
    data.push(bytes);
    dataBytes += bytes.length;
  }
  const tree = Buffer.alloc(nodes.length * 6);
  for (const [i, children] of nodes.entries()) {
    for (const side of [0, 1] as const) {
      const child = children[side];
      const number = child >= 0 ? child : child === -1 ? nodes.length : nodes.length + 16 + (-2 - child);
      tree.writeUIntBE(number, i * 6 + side * 3, 3);
    }
  }
  const metadata = encode({
    node_count: nodes.length,
    record_size: 24,
    ip_version: 4,
    database_type: 'Test-City',
    languages: ['en'],
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1,
    description: { en: 'test' },
  });
  return Buffer.concat([tree, Buffer.alloc(16), ...data, Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1'), metadata]);
}
