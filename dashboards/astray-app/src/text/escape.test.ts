import { escapeText, safe } from './escape';

const shown = (text: string, max?: number) =>
  escapeText(text, max)
    .parts.map((p) => p.text)
    .join('');

describe('escapeText', () => {
  it('leaves what people write alone, in any script', () => {
    for (const text of ['plain text', 'Grüße, 你好, مرحبا, नमस्ते', '<b>not markup</b>', '❤️ fine']) {
      expect(escapeText(text).parts).toEqual([{ text, escaped: false }]);
    }
  });

  it('shows controls, bidi and invisible characters as escapes', () => {
    expect(shown('\u202egnp.exe')).toBe('\\u{202e}gnp.exe');
    expect(shown('\u001b[31m')).toBe('\\x1b[31m');
    expect(shown('a\u200bb\u2066c')).toBe('a\\u{200b}b\\u{2066}c');
    expect(shown('one\r\ntwo\u0000')).toBe('one\\r\\ntwo\\x00');
    expect(shown('\ud800')).toBe('\\u{d800}');
    expect(shown('\u{e0041}')).toBe('\\u{e0041}');
  });

  it('keeps line breaks where a block asks for them', () => {
    expect(escapeText('a\nb', 100, true).parts).toEqual([{ text: 'a\nb', escaped: false }]);
  });

  it('stops stacks of combining marks', () => {
    expect(shown('e' + '\u0301'.repeat(5))).toBe('e\u0301\u0301\u0301\\u{301}\\u{301}');
  });

  it('limits length and counts what is left, without splitting a character', () => {
    expect(escapeText('x'.repeat(1_000_000), 10).left).toBe(999_990);
    expect(safe('😀😀😀', 2)).toBe('😀😀…');
    expect(safe('abc', 3)).toBe('abc');
  });
});
