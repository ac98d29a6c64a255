/**
 * What `ringmain doctor` asks a receiver of batches: its name, whether it can be reached with TLS, and its clock (the
 * Date header). It sends OPTIONS, never events.
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { error, type Finding, note, ok, skewFinding } from '../../kernel/finding.ts';
import { resolveFinding } from '../../kernel/resolve.ts';
import type { HttpSinkConfig } from './config.ts';

export async function* examineHttp(config: HttpSinkConfig): AsyncGenerator<Finding> {
  const url = new URL(config.httpSinkUrl ?? '');
  const name = await resolveFinding(url.hostname.replace(/^\[(.*)\]$/, '$1'), 'HTTP_SINK_URL');
  if (name !== undefined) yield name;
  const asked = Date.now();
  let response: IncomingMessage;
  try {
    response = await ask(url, config);
  } catch (cause) {
    yield error(
      `${url.host} cannot be reached: ${(cause as Error).message}`,
      'Start the receiver, or correct HTTP_SINK_URL or HTTP_SINK_TLS_CA; until then the journal keeps its events.',
    );
    return;
  }
  const told = Date.now();
  const status = response.statusCode ?? 0;
  yield status === 401 || status === 403 || status === 407
    ? error(
        `${url.host} answers OPTIONS with ${status}`,
        'Correct HTTP_SINK_AUTHORIZATION; batches would be rejected as well.',
      )
    : ok(`${url.host} answers (OPTIONS: ${status}); only a batch shows whether it accepts them`);
  const date = Date.parse(response.headers.date ?? '');
  // The header has whole seconds: half of one is the best guess.
  if (Number.isFinite(date)) yield skewFinding('the receiver', date + 500, asked, told);
  else yield note('the receiver sends no Date header, so its clock is not checked; signatures carry our time');
}

function ask(url: URL, config: HttpSinkConfig): Promise<IncomingMessage> {
  const { httpSinkAuthorization, httpSinkTlsCa, httpSinkTimeoutMs } = config;
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const asked = send(url, {
      method: 'OPTIONS',
      timeout: httpSinkTimeoutMs,
      headers: httpSinkAuthorization === undefined ? {} : { authorization: httpSinkAuthorization },
      ...(httpSinkTlsCa === undefined ? {} : { ca: readFileSync(httpSinkTlsCa) }),
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${httpSinkTimeoutMs} ms`)));
    asked.on('error', reject);
    asked.on('response', (response) => {
      response.resume();
      resolve(response);
    });
    asked.end();
  });
}
