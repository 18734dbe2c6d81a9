// What the run asserts, one line a claim, and the closing line that counts them.

import { isDeepStrictEqual } from 'node:util';

export class Claims {
  passed = 0;
  failed = 0;

  /** Prints a heading. */
  chapter(title) {
    console.log(`\n# ${title}`);
  }

  /** Asserts one thing; `detail` is printed, indented, when it does not hold. */
  ok(claim, holds, detail = '') {
    if (holds) {
      this.passed++;
      console.log(`ok - ${claim}`);
      return;
    }
    this.failed++;
    console.log(`not ok - ${claim}`);
    if (detail) console.log(String(detail).replace(/^/gm, '    '));
  }

  /** Asserts that two lists are equal, and shows where they first differ. */
  sameList(claim, got, want) {
    this.ok(claim, isDeepStrictEqual(got, want), firstDifference(got, want));
  }

  /** Prints the closing line; returns the exit code. */
  close() {
    console.log(`\n${this.passed} passed, ${this.failed} failed`);
    return this.failed === 0 && this.passed > 0 ? 0 : 1;
  }
}

function firstDifference(got, want) {
  const at = want.findIndex((item, i) => !isDeepStrictEqual(item, got[i]));
  const i = at >= 0 ? at : want.length;
  return [
    `${got.length} items, wanted ${want.length}; the first difference is at ${i}`,
    `got    ${JSON.stringify(got[i])}`,
    `wanted ${JSON.stringify(want[i])}`,
  ].join('\n');
}
