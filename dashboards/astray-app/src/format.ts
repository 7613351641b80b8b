import { safe } from './text/escape';

/** Numbers and times as people read them. */

export function count(n: number): string {
  if (!Number.isFinite(n)) {
    return '–';
  }
  if (Math.abs(n) >= 1e9) {
    return `${trim(n / 1e9)} G`;
  }
  if (Math.abs(n) >= 1e6) {
    return `${trim(n / 1e6)} M`;
  }
  if (Math.abs(n) >= 1e4) {
    return `${trim(n / 1e3)} k`;
  }
  if (n !== 0 && Math.abs(n) < 0.01) {
    return Math.abs(n) < 1e-4 ? n.toExponential(0) : String(Number(n.toPrecision(1)));
  }
  return Math.abs(n) >= 10 || Number.isInteger(n) ? Math.round(n).toLocaleString('en') : trim(n, 2);
}

function trim(n: number, digits = 1): string {
  return String(Number(n.toFixed(digits)));
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  while (Math.abs(n) >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${trim(n)} ${units[i]}`;
}

/** A span in seconds, with its two largest units. */
export function span(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) {
    return '–';
  }
  const units: Array<[string, number]> = [
    ['d', 86400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) {
    return seconds === 0 ? '0 s' : '< 1 s';
  }
  const [unit, size] = units[first];
  const whole = Math.floor(seconds / size);
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[1]) : 0;
  return rest > 0 && whole < 10 ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

export function ago(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000;
  // One unit is enough: the exact instant is in the title.
  return seconds < 5 ? 'now' : `${span(seconds).split(' ').slice(0, 2).join(' ')} ago`;
}

/** An instant in UTC, to the second. */
export function instant(time: string): string {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? '–' : new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
}

/** How certain: a share as a percentage that never rounds to certainty. */
export function percent(share: number): string {
  return share > 0.99 && share < 1 ? '> 99 %' : `${Math.round(share * 100)} %`;
}

/** "distinct_objects_1h" and the like in words. */
export function words(name: string): string {
  return safe(name.replace(/[_-]+/g, ' ').trim(), 60);
}

/** The name of a feature, without the unit of its values. */
export function featureName(name: string): string {
  return words(name.replace(/_seconds$/, '').replace(/^kilobytes_/, 'data_'));
}

/** A value of a feature with its unit: a time, an amount of data or a count. */
export function featureValue(name: string, n: number): string {
  if (name.endsWith('_seconds')) {
    return span(n);
  }
  return name.startsWith('kilobytes_') ? bytes(n * 1024) : count(n);
}

/** How far beyond the band, as people say it: "165 × expected". */
export function times(observed: number, expected: number): string {
  if (expected <= 0) {
    return observed > 0 ? 'never seen before' : 'as expected';
  }
  return `${count(observed / expected)} × expected`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A tick of a time axis in UTC: the hour, or the day where one begins. */
export function tick(t: Date): string {
  const text = t.toISOString();
  if (text.slice(11, 16) === '00:00') {
    return `${t.getUTCDate()} ${MONTHS[t.getUTCMonth()]}`;
  }
  return t.getUTCSeconds() === 0 ? text.slice(11, 16) : text.slice(11, 19);
}
