// Compares the page's verdicts, in a headless Chromium, with those that the program `proofs` wrote:
// `node compare.mjs PAGE DIRECTORY`. The page gets the proofs by a script at its end, and Chromium prints what became of
// it. Fails if a verdict differs, or if the page threw.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const DEADLINE_MS = 105_000;
const OUTPUT_BYTES_MAX = 256 << 20;

const [page, directory] = process.argv.slice(2);
if (!directory) {
  console.error('node compare.mjs PAGE DIRECTORY');
  process.exit(2);
}
const cases = JSON.parse(readFileSync(join(directory, 'cases.json'), 'utf8'));
const { verdicts, shown } = inChromium();
const differing = [];
cases.forEach((one, at) => compare(one, verdicts[at]));
if (!shown.startsWith('holds')) differing.push(`two chosen files are answered with: ${shown}`);
const holding = cases.filter((one) => one.holds).length;
differing.slice(0, 20).forEach((text) => console.error(text));
console.log(`${cases.length} proofs, of which ${holding} hold: ${differing.length} verdicts differ`);
process.exit(differing.length === 0 && holding > 0 && holding < cases.length ? 0 : 1);

/** What the page says of every case, and what it shows once a person has chosen the files of a good one. */
function inChromium() {
  const read = (name) => readFileSync(join(directory, name)).toString('base64');
  const files = new Map(cases.flatMap((one) => [one.proof, one.trust]).map((name) => [name, read(name)]));
  const given = {
    files: Object.fromEntries(files),
    pairs: cases.map((one) => [one.proof, one.trust]),
    chosen: cases.findIndex((one) => one.holds),
  };
  const script = `<script>(${inPage})(${JSON.stringify(given)})</script></body>`;
  const scratch = mkdtempSync(join(tmpdir(), 'verify-page-'));
  try {
    const tested = join(scratch, 'tested.html');
    writeFileSync(tested, readFileSync(page, 'utf8').replace('</body>', () => script));
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--virtual-time-budget=5000'];
    const profile = `--user-data-dir=${join(scratch, 'profile')}`;
    const dom = execFileSync(
      process.env.CHROMIUM ?? 'chromium',
      [...flags, profile, '--dump-dom', pathToFileURL(tested).href],
      { timeout: DEADLINE_MS, maxBuffer: OUTPUT_BYTES_MAX, stdio: ['ignore', 'pipe', 'ignore'] },
    ).toString();
    const results = /<pre id="results">([^<]*)<\/pre>/.exec(dom);
    const verdict = /<div id="verdict"[^>]*class="([a-z]*)"[^>]*>(.*?)<\/div>/s.exec(dom);
    if (!results) throw new Error(`the page gave no verdicts: ${dom.slice(0, 500)}`);
    return {
      verdicts: JSON.parse(Buffer.from(results[1], 'base64').toString('utf8')),
      shown: verdict ? `${verdict[1]}: ${verdict[2]}` : 'nothing',
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Runs in the page. */
function inPage({ files, pairs, chosen }) {
  const bytes = (name) => Uint8Array.from(atob(files[name]), (letter) => letter.charCodeAt(0));
  const verdicts = pairs.map(([proof, trust]) => globalThis.selfchainVerify(bytes(proof), bytes(trust)));
  const results = document.createElement('pre');
  results.id = 'results';
  const text = new TextEncoder().encode(JSON.stringify(verdicts));
  results.textContent = btoa(Array.from(text, (byte) => String.fromCharCode(byte)).join(''));
  document.body.append(results);
  for (const [at, name] of ['proof', 'trust'].entries()) {
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes(pairs[chosen][at])], name));
    const input = document.querySelector(`#${name} input`);
    input.files = transfer.files;
    input.dispatchEvent(new Event('change'));
  }
}

function compare(one, verdict) {
  const name = `${one.name} (${one.proof})`;
  if (!verdict) return differing.push(`${name}: no verdict`);
  if (verdict.isUnexpected) differing.push(`${name}: ${verdict.why}`);
  if (verdict.holds !== one.holds) {
    const why = verdict.why ?? one.why;
    return differing.push(`${name}: holds ${verdict.holds} here and ${one.holds} there: ${why}`);
  }
  if (!one.holds) return verdict.why || differing.push(`${name}: no reason is given`);
  for (const [path, want] of Object.entries(one.says)) {
    const got = path.split('.').reduce((value, key) => value?.[key], verdict);
    if (got !== want) differing.push(`${name}: ${path} is ${got} here and ${want} there`);
  }
}
