/** Routes of the gateway: each area opens what it has, behind the guard. */
import type { Acceptor } from '../service/contract.ts';
import { openAdmin } from './admin/routes.ts';
import type { Area } from './area.ts';
import { openBalancer } from './balance/open.ts';
import { backendOperations } from './balance/operations.ts';
import { adminOf } from './database/admin/answers.ts';
import { openFront } from './front/open.ts';
import { frontRehearsal } from './front/rehearsal.ts';
import { openUnknown } from './front/unknown.ts';
import type { GatewayValues } from './gateway.ts';
import { openImages } from './images/open.ts';
import { Identifier } from './keys/identify.ts';
import { mayComeFrom } from './keys/networks.ts';
import { openSign } from './keys/sign-route.ts';
import { openLimits } from './limits/open.ts';
import { openLogs } from './logs/routes.ts';
import { SharedQuotas } from './quota/shared-quotas.ts';
import { openUsage } from './quota/usage-route.ts';
import { openRegistry } from './registry/view.ts';
import type { GatewayShared } from './shared.ts';
import { openUploads } from './upload/routes.ts';

export default {
  async open(frame) {
    const { values, now } = frame;
    const registry = await openRegistry(frame);
    const identifier = new Identifier({
      registry,
      pepper: values.access.keyPepper,
      signedMsMax: values.gateway.signedUrlMaxAgeMs,
      now,
    });
    const { limiter, windows } = await openLimits(frame);
    const quotas = new SharedQuotas(frame.shared.usage, now);
    const front = openFront(frame, { identifier, mayComeFrom, limiter, windows, quotas });
    if (frame.rehearsing)
      return {
        routes: front.ids.marked(openUnknown(front.guard).routes),
        close: () => {
          front.close();
          limiter.close();
          registry.close();
        },
      };
    const backends = openBalancer(frame);
    const areas: readonly Area[] = [
      openAdmin(frame, front.guard, backendOperations(adminOf(frame), backends.balancer.table)),
      openLogs(frame, front.guard),
      openUsage(frame, front.guard, quotas),
      openSign(frame, front.guard),
      openImages(frame, { guard: front.guard, upstream: backends.upstream, registry }),
      openUploads(frame, front.guard),
      openUnknown(front.guard),
    ];
    return {
      routes: front.ids.marked(areas.flatMap(({ routes }) => routes)),
      gauges: () => {
        backends.gauges();
        for (const area of areas) area.gauges?.();
      },
      drain: () => {
        for (const area of areas) area.drain?.();
      },
      close: () => {
        for (const area of areas) area.close?.();
        backends.close();
        front.close();
        limiter.close();
        registry.close();
      },
    };
  },
  rehearsal: frontRehearsal,
} satisfies Acceptor<GatewayValues, GatewayShared>;
