/**
 * Text from agents is hostile: it may carry control characters that fake a log line, bidirectional overrides that
 * turn a name around, invisible characters that make two names look alike, or a stack of combining marks that covers
 * the page. escapeText cuts it into parts that are shown as they are and parts that are shown as escapes.
 */
export interface Part {
  text: string;
  /** The text is the escape of a character, not the character. */
  escaped: boolean;
}

/** Longest text that is shown unless the caller says otherwise, in code points. */
export const DEFAULT_MAX = 300;

/** Combining marks after one letter that are shown; real scripts need no more than three. */
const MAX_MARKS = 3;

// Controls (Cc), format characters with bidi and zero-width ones (Cf), surrogates (Cs), private use (Co), unassigned
// (Cn), line and paragraph separators (Zl, Zp), and characters that are letters to Unicode but blank to the eye.
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0\u2800\u034f\u180b-\u180f\ufe00-\ufe0f]/u;
const MARK = /\p{M}/u;

// A picture may be followed by the selector that gives it its colours.
const PICTOGRAPH = /\p{Extended_Pictographic}/u;

function escapeOf(char: string): string {
  switch (char) {
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    case '\t':
      return '\\t';
  }
  const code = char.codePointAt(0) ?? 0;
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

export function escapeText(text: string, max = DEFAULT_MAX, keepLines = false): { parts: Part[]; left: number } {
  const parts: Part[] = [];
  let plain = '';
  let marks = 0;
  let shown = 0;
  let used = 0;
  let before = '';
  // A cut by code units first, so that a megabyte of text costs no more than what is shown of it.
  for (const char of text.slice(0, max * 2 + 2)) {
    if (shown >= max) {
      break;
    }
    shown++;
    used += char.length;
    marks = MARK.test(char) ? marks + 1 : 0;
    const kept = (keepLines && (char === '\n' || char === '\t')) || (char === '\ufe0f' && PICTOGRAPH.test(before));
    before = char;
    if (kept || (!HIDDEN.test(char) && marks <= MAX_MARKS)) {
      plain += char;
      continue;
    }
    if (plain) {
      parts.push({ text: plain, escaped: false });
      plain = '';
    }
    parts.push({ text: escapeOf(char), escaped: true });
  }
  if (plain) {
    parts.push({ text: plain, escaped: false });
  }
  return { parts, left: text.length - used };
}

/** The same as one string, for attributes (title, aria-label) and for SVG. */
export function safe(text: string, max = DEFAULT_MAX): string {
  const { parts, left } = escapeText(text, max);
  return parts.map((p) => p.text).join('') + (left ? '…' : '');
}
