#!/usr/bin/env node
// What BROWSER names: the person of the Go test opens the address, answers the pages and
// is sent back to the program that waits.
import { appendFile } from 'node:fs/promises';

await appendFile(process.env.OPENED, 'opened\n');
const response = await fetch(process.env.CAUSEWAY_TEST_CONTROL + '/browse', {
  method: 'POST', body: JSON.stringify({ url: process.argv[2], name: 'alice', open: true }),
});
if (response.status !== 200) {
  console.error(await response.text());
  process.exit(1);
}
