/** Errors of the intake routes alone. */
import { answer, defineErrors } from '../kernel/errors.ts';

export const collectErrors = defineErrors('collect', {
  UNSUPPORTED_MEDIA_TYPE: answer(
    415,
    false,
    'The content type is not supported',
    (f: { type: string }) => `content type must be application/json or text/plain: type=${f.type}`,
  ),
});
