import { featureName, featureValue } from './format';

test('a feature has its unit beside the value', () => {
  expect([featureName('pause_seconds'), featureValue('pause_seconds', 4059)]).toEqual(['pause', '1 h 7 min']);
  expect([featureName('kilobytes_to_a_new_destination'), featureValue('kilobytes_sent', 2048)]).toEqual([
    'data to a new destination',
    '2 MiB',
  ]);
  expect([featureName('new_actions'), featureValue('new_actions', 13)]).toEqual(['new actions', '13']);
});
