/** Names of the worker `query`, its routes and its questions: every thread of the service has them as labels. */
import { apiQuestionNames } from '../api/names.ts';

/** Names of the routes (routes.ts), and of the worker. */
export const queryRouteNames = ['stats', 'reconcile', 'openapi'] as const;
export const QUERY_WORKER = 'query';
export const questionNames = ['stats', 'reconcile', ...apiQuestionNames] as const;
