/**
 * Goal: the document says of every body of send and batch what the service says, which checks them by hand. Method: a
 * table of good and bad values of each member, as JSON texts; each body is judged by the schema of the document and sent
 * to the built service, which prices it (dry_run).
 */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, expect, test } from 'vitest';
import { openApiText } from '../../../src/sms/openapi/document.ts';
import { fileScope } from '../../servers/scope.ts';
import { addCustomer, openLink, startDatabase } from '../database.ts';
import { type RunningSms, startSms } from '../running.ts';

const scope = fileScope();
let sms: RunningSms;

beforeAll(async () => {
  const { dsn } = await startDatabase(scope, 26_570);
  const link = await openLink(dsn);
  await addCustomer(link, 'ada', { balance: 1_000_000 });
  await link.close();
  // The document knows no option: its text is as long as it may be.
  const env = { ACCESS: 'open', MAX_MESSAGE_LENGTH: '10000' };
  sms = await startSms(scope, { port: 26_571, dsn, env });
});

const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema({ ...JSON.parse(openApiText()), $id: 'document' });
const schemaOf = (name: string) => ajv.getSchema(`document#/components/schemas/${name}`)!;

/** Members of a good message, each as JSON text. */
const good: Readonly<Record<string, string>> = { customer_id: '"ada"', to: '"+989121234567"', text: '"hello"' };
const objectOf = (members: Readonly<Record<string, string>>): string =>
  `{${Object.entries(members)
    .map(([name, value]) => `${JSON.stringify(name)}: ${value}`)
    .join(', ')}}`;
const text = (value: string): string => JSON.stringify(value);
const neverTexts = ['1', 'true', 'null', '[]', '{}', '["+989121234567"]'];

interface Values {
  readonly good: readonly string[];
  readonly bad: readonly string[];
}
const values: Readonly<Record<string, Values>> = {
  customer_id: {
    good: ['"ada"', '"A.b_c-9"', text('x'.repeat(64))],
    bad: ['""', '"a b"', '"ä"', '"a\\n"', '"a/b"', text('x'.repeat(65)), ...neverTexts],
  },
  to: {
    good: ['"+989121234567"', '"+447400123456"', '"+12025550123"'],
    bad: [
      ...['""', '"+"', '"989121234567"', '"00989121234567"', '"+0989121234567"', '"+98 912 123 4567"'],
      ...['"+1234567"', '"+1234567890123456"', '"+98912123456x"', '"+989121234567\\n"', '"＋989121234567"'],
      ...neverTexts,
    ],
  },
  text: {
    good: ['"a"', '" "', '"\\n"', '"سلام"', '"😀"', '"\\ud83d\\ude00"', text('a'.repeat(10_000)), '"\\u0001"'],
    bad: ['""', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00 a"', '"\\ude00\\ud83d"', ...neverTexts],
  },
  sender: {
    good: ['""', '"Shop"', '"98200"', '"+989121234567"', '"a.b-c_d e"', '"12345678901"', '"123456789012345"', '"12"'],
    bad: ['"ShopShopShop"', '"+12"', '"1234567890123456"', '"Sh\\u00f6p"', '"a\\n"', '"a+b"', ...neverTexts],
  },
  type: { good: ['"normal"', '"express"'], bad: ['""', '"Express"', '"bulk"', ...neverTexts] },
  idempotency_key: {
    good: ['"k"', '"!~"', text('k'.repeat(255)), '"{\\"a\\"}"'],
    bad: ['""', '"a b"', '"ä"', '"a\\u007f"', '"a\\n"', text('k'.repeat(256)), ...neverTexts],
  },
  validity_s: {
    good: ['1', '604800', '60.0', '1e2'],
    bad: ['0', '-1', '604801', '1.5', '1e300', '"60"', 'true', 'null', '[]', '{}'],
  },
  callback_url: {
    good: [
      ...['"http://a.example"', '"https://a.example/"', '"HTTPS://a.example:8443/x?y=z&u=v"', '"http://127.0.0.1/x"'],
      ...['"http://[2001:db8::1]:80/x"', '"https://m\\u00fcnchen.example/\\u00fc"', '"http://a.example/x@y"'],
      ...['"http://a.example?x"', text(`http://a.example/${'x'.repeat(2031)}`)],
    ],
    bad: [
      ...['""', '"a.example"', '"ftp://a.example"', '"http:a.example"', '"http:/a.example"', '"//a.example"'],
      ...[
        '"http://"',
        '"http://u@a.example"',
        '"http://u:p@a.example"',
        '"http://a.example#x"',
        '"http://a.example/#"',
      ],
      ...['" http://a.example"', '"http://a.example "', '"http://a.example/a b"', '"http://a.example/\\n"'],
      ...['"http:\\\\\\\\a.example"', '"http://a.example\\\\x"', '"javascript:alert(1)"'],
      ...[text(`http://a.example/${'x'.repeat(2032)}`), ...neverTexts],
    ],
  },
  // No member of a message.
  priority: { good: [], bad: ['1', '"high"', 'null'] },
  ['__proto__']: { good: [], bad: ['{}'] },
  ['constructor']: { good: [], bad: ['"x"'] },
};

/** What no schema can say, and the document says in words: the service alone refuses it. */
const beyond: readonly (readonly [member: string, value: string])[] = [
  ['to', '"+9800000000"'],
  ['to', '"+99912345678"'],
  ['text', text('😀'.repeat(5001))],
  ['callback_url', '"http://a.example:99999/"'],
  ['callback_url', '"http://[::1/"'],
  ['callback_url', '"http://:80/"'],
];

const ofSchema = (name: string, body: string): boolean => {
  try {
    return schemaOf(name)(JSON.parse(body)) as boolean;
  } catch {
    return false;
  }
};
/** A body that is taken may be refused for what it asks: a customer that is not there. */
async function ofService(path: string, body: string): Promise<boolean> {
  const answer = await fetch(`${sms.url}${path}?dry_run=true`, { method: 'POST', body });
  const said = (await answer.json()) as { results?: readonly { problem?: { status: number } }[] };
  expect([200, 400, 404], body.slice(0, 200)).toContain(answer.status);
  return answer.status !== 400 && (said.results ?? []).every(({ problem }) => problem?.status !== 400);
}
const verdicts = async (schema: string, path: string, body: string) => ({
  body: body.slice(0, 300),
  document: ofSchema(schema, body),
  service: await ofService(path, body),
});
const both = (body: string, verdict: boolean) => ({ body: body.slice(0, 300), document: verdict, service: verdict });

test.each(Object.entries(values))('send: %s', async (member, { good: fine, bad }) => {
  for (const [value, verdict] of [
    ...fine.map((one) => [one, true] as const),
    ...bad.map((one) => [one, false] as const),
  ]) {
    const body = objectOf({ ...good, [member]: value });
    const named = member === '__proto__' ? body.replace(/}$/, `, "__proto__": ${value}}`) : body;
    expect(await verdicts('NewMessage', '/v1/sms/send', named)).toEqual(both(named, verdict));
  }
});

test('send: what is missing, and what is no message', async () => {
  const { to, text: said } = good as { to: string; text: string };
  for (const body of [objectOf({ customer_id: '"ada"', to }), objectOf({ customer_id: '"ada"', text: said }), '{}'])
    expect(await verdicts('NewMessage', '/v1/sms/send', body)).toEqual(both(body, false));
  for (const body of ['[]', '1', '"x"', 'null', 'true', `[${objectOf(good)}]`, '', '{'])
    expect(await verdicts('NewMessage', '/v1/sms/send', body)).toEqual(both(body, false));
});

test('send: customer_id may be left out with a key of the customer, as the document says in words', async () => {
  const { customer_id: _, ...rest } = good;
  expect(await verdicts('NewMessage', '/v1/sms/send', objectOf(rest))).toMatchObject({
    document: true,
    service: false,
  });
});

test('batch: lists, their lengths, and every item of them', async () => {
  const item = objectOf(good);
  const list = (count: number): string => `{"messages": [${Array(count).fill(item).join(',')}]}`;
  const fine = [list(1), list(1000), `{"messages": [${item}], "note": 1}`];
  const items = Object.entries(values).flatMap(([member, { bad }]) =>
    member === '__proto__' ? [] : [`{"messages": [${item}, ${objectOf({ ...good, [member]: bad[0]! })}]}`],
  );
  const none = ['{}', '[]', 'null', '1', '{"messages": null}', '{"messages": {}}', `{"messages": ${item}}`];
  const bad = [
    list(0),
    list(1001),
    '{"messages": [1]}',
    '{"messages": [null]}',
    '{"messages": [[]]}',
    ...items,
    ...none,
  ];
  for (const body of fine) expect(await verdicts('NewBatch', '/v1/sms/batch', body)).toEqual(both(body, true));
  for (const body of bad) expect(await verdicts('NewBatch', '/v1/sms/batch', body)).toEqual(both(body, false));
});

test('what no schema can say is refused by the service alone, and these are all such rules', async () => {
  for (const [member, value] of beyond) {
    const body = objectOf({ ...good, [member]: value });
    expect(await verdicts('NewMessage', '/v1/sms/send', body)).toEqual({ ...both(body, true), service: false });
  }
});

test('the header Idempotency-Key is what the document says of it', async () => {
  const document = JSON.parse(openApiText()) as {
    paths: Record<string, { post: { parameters: readonly { name: string; schema: object }[] } }>;
  };
  const { schema } = document.paths['/v1/sms/send']!.post.parameters.find(({ name }) => name === 'Idempotency-Key')!;
  const valid = ajv.compile(schema);
  for (const [key, verdict] of [
    ['k', true],
    ['k'.repeat(255), true],
    ['k'.repeat(256), false],
    ['a b', false],
    // The addon takes bytes beyond ASCII off the ends of a header, as if they were blanks (README: known limits).
    ['a\u00e4b', false],
  ] as const) {
    const answer = await fetch(`${sms.url}/v1/sms/send?dry_run=true`, {
      method: 'POST',
      headers: { 'idempotency-key': key },
      body: objectOf(good),
    });
    expect([key, valid(key), answer.status === 200]).toEqual([key, verdict, verdict]);
  }
});
