/** What members of a group tell each other: bytes of the consumer protocol, and who gets which partition. */
import { expect, test } from 'vitest';
import {
  deal,
  readAssignment,
  readSubscription,
  writeAssignment,
  writeSubscription,
} from '../../../src/store/kafka/group.ts';

test('subscription and assignment are the bytes of the consumer protocol, version 0', () => {
  const subscription = Buffer.from('00000000000200016100026262ffffffff', 'hex');
  expect(writeSubscription(['a', 'bb'])).toEqual(subscription);
  expect(readSubscription(subscription)).toEqual(['a', 'bb']);
  const assignment = Buffer.from('000000000001000161000000020000000000000007ffffffff', 'hex');
  expect(writeAssignment(new Map([['a', [0, 7]]]))).toEqual(assignment);
  expect(readAssignment(assignment)).toEqual(new Map([['a', [0, 7]]]));
});

test('a member without partitions reads an empty answer', () => {
  expect(readAssignment(Buffer.alloc(0))).toEqual(new Map());
  expect(readAssignment(writeAssignment(new Map()))).toEqual(new Map());
});

test('partitions are dealt in turns, each once, to members that want their topic, whatever the order of the members', () => {
  const members = [
    { memberId: 'c', topics: ['x'] },
    { memberId: 'a', topics: ['x', 'y'] },
    { memberId: 'b', topics: ['y', 'x'] },
  ];
  const partitions = new Map([
    ['y', 2],
    ['x', 7],
    ['nobody', 3],
  ]);
  const dealt = deal(members, partitions);
  expect(deal(members.toReversed(), partitions)).toEqual(dealt);
  const places = dealt.flatMap(({ memberId, assignment }) =>
    [...assignment].flatMap(([topic, list]) => list.map((partition) => ({ memberId, place: `${topic}/${partition}` }))),
  );
  const wanted = [0, 1, 2, 3, 4, 5, 6].map((n) => `x/${n}`).concat('y/0', 'y/1');
  expect(places.map(({ place }) => place).sort()).toEqual(wanted);
  expect(places.filter(({ memberId, place }) => memberId === 'c' && place.startsWith('y'))).toEqual([]);
  const counts = dealt.map(({ assignment }) => [...assignment.values()].flat().length).sort();
  expect(counts).toEqual([2, 3, 4]);
});
