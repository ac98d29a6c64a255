/** Requests that exercise the pipeline before the port opens: refusals, which an attack brings in great numbers. */
const ask = (...headers: readonly string[]): string =>
  ['DELETE /rs:fit:300:200/plain/local:///ab/cd.jpg HTTP/1.1', 'Host: localhost', ...headers, '\r\n'].join('\r\n');

export const frontRehearsal: readonly string[] = [
  ask(),
  ask('X-API-Key: rm_live_rehearsal'),
  ask('Authorization: Bearer rm_live_rehearsal', 'X-Forwarded-For: 192.0.2.1', 'X-Request-Id: rehearsal'),
];
