/** Metrics of the worker that answers questions. */
import { defineMetrics, gauge, histogram } from '../../kernel/metrics.ts';
import { questionNames } from './names.ts';

export const queryMetrics = defineMetrics({
  ringmain_query_seconds: histogram({
    help:
      'Time to answer a question from the database, by question, from its turn among QUERY_CONNECTIONS on: with the ' +
      'opening of a session, and the wait for a count of raw events that others need too. The wait for its turn is not ' +
      'part of it.',
    labels: { question: questionNames },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
  }),
  ringmain_query_up: gauge({
    help: '1: the database answered the last question; 0: it could not be reached. Questions get 503 meanwhile.',
    threads: 'max',
  }),
});
