// The page: two files in, a verdict out. Nothing leaves it: it has no network to ask.

import { verify } from './proof.js';
import { say } from './say.js';

globalThis.selfchainVerify = verify;

const files = { proof: null, trust: null };

function take(name, file) {
  file.arrayBuffer().then((buffer) => {
    files[name] = new Uint8Array(buffer);
    document.getElementById(`${name}-name`).textContent = `${file.name}, ${file.size} bytes`;
    show();
  });
}

function show() {
  if (!files.proof || !files.trust) return;
  const verdict = document.getElementById('verdict');
  const result = verify(files.proof, files.trust);
  const lines = result.holds ? say(result) : [result.why];
  verdict.className = result.holds ? 'holds' : 'fails';
  verdict.replaceChildren(
    element('h2', result.holds ? 'The proof holds' : 'The proof does not hold'),
    ...lines.map((line) => element('p', line)),
  );
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

for (const name of Object.keys(files)) {
  const place = document.getElementById(name);
  const input = place.querySelector('input');
  input.addEventListener('change', () => input.files[0] && take(name, input.files[0]));
  place.addEventListener('dragover', (event) => event.preventDefault());
  place.addEventListener('drop', (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(name, event.dataTransfer.files[0]);
  });
}
