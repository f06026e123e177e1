// Bundles the sources and their libraries into one page that opens from a disk: `node build.mjs [OUTPUT]`.

import { build } from 'esbuild';
import { readFileSync, writeFileSync } from 'node:fs';

const here = new URL('.', import.meta.url);
const bundled = await build({
  entryPoints: [new URL('src/page.js', here).pathname],
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  charset: 'ascii',
  legalComments: 'none',
  write: false,
});
const script = bundled.outputFiles[0].text.trim().replaceAll('</script', '<\\/script');
const page = readFileSync(new URL('src/page.html', here), 'utf8');
writeFileSync(process.argv[2] ?? new URL('index.html', here), page.replace('/*PAGE*/', () => script));
