// Opens what we sealed, and seals what we are to open, with another implementation of age.
//
//   node interop.mjs open IDENTITY_FILE AGE_FILE OUT_FILE   prints the BLAKE3 of what it holds
//   node interop.mjs seal RECIPIENT IN_FILE AGE_FILE
//   node interop.mjs new IDENTITY_FILE                      prints the recipient

import { readFileSync, writeFileSync } from "node:fs";
import { blake3 } from "@noble/hashes/blake3.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient } from "age-encryption";

const [command, ...files] = process.argv.slice(2);
const read = (file) => new Uint8Array(readFileSync(file));

if (command === "open") {
    const [identityFile, ageFile, out] = files;
    const lines = readFileSync(identityFile, "utf8").split("\n");
    const decrypter = new Decrypter();
    decrypter.addIdentity(lines.find((line) => line.startsWith("AGE-SECRET-KEY-PQ-1")));
    const plain = await decrypter.decrypt(read(ageFile));
    writeFileSync(out, plain);
    console.log(bytesToHex(blake3(plain)));
} else if (command === "seal") {
    const [recipient, file, ageFile] = files;
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient);
    writeFileSync(ageFile, await encrypter.encrypt(read(file)));
} else if (command === "new") {
    const identity = await generateHybridIdentity();
    writeFileSync(files[0], `${identity}\n`, { mode: 0o600 });
    console.log(await identityToRecipient(identity));
} else {
    throw new Error(`unknown command: ${command}`);
}
