// Load of uploads: k6 run -e API_KEY=... deploy/gateway/k6_script.js
// BASE_URL, VUS and DURATION may be given likewise. A user's limit (1,000 requests a minute, if it has none of its own) ends
// in answers 429, which fail the check: give the user of a load test a higher one.
import { check } from 'k6';
import encoding from 'k6/encoding';
import http from 'k6/http';

const base = __ENV.BASE_URL || 'http://localhost:8080';
// A picture of one pixel.
const picture = encoding.b64decode(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
);
const params = { headers: { 'X-API-Key': __ENV.API_KEY, 'Content-Type': 'image/png' } };

export const options = {
  vus: Number(__ENV.VUS || 10),
  duration: __ENV.DURATION || '30s',
  thresholds: { checks: ['rate==1'] },
};

export default function () {
  const res = http.post(`${base}/api/v1/upload`, picture, params);
  check(res, { 'status is 200': (r) => r.status === 200 });
}
