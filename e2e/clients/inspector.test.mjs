// The Inspector's command line, one process a call, as people use it in scripts.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { mcpURL, sseURL } from './lib.mjs';

const require = createRequire(import.meta.url);
const manifest = require('@modelcontextprotocol/inspector/package.json');
const bin = join(dirname(require.resolve('@modelcontextprotocol/inspector/package.json')), manifest.bin['mcp-inspector']);

async function inspector(url, transport, ...args) {
  const { stdout } = await promisify(execFile)(process.execPath,
    [bin, '--cli', url.href, '--transport', transport, ...args],
    { env: process.env, maxBuffer: 8 << 20 });
  return JSON.parse(stdout);
}

for (const [name, url, transport] of [['Streamable HTTP', mcpURL(), 'http'], ['HTTP+SSE', sseURL(), 'sse']]) {
  test(`Inspector over ${name}: lists tools`, async () => {
    const { tools } = await inspector(url, transport, '--method', 'tools/list');
    assert.ok(tools.some((t) => t.name === 'add'));
  });

  test(`Inspector over ${name}: calls a tool`, async () => {
    const sum = await inspector(url, transport, '--method', 'tools/call', '--tool-name', 'add', '--tool-arg', 'a=2', 'b=40');
    assert.equal(sum.content[0].text, '42');
    assert.deepEqual(sum.structuredContent, { sum: 42 });
  });
}

test('Inspector: lists and reads resources', async () => {
  const { resources } = await inspector(mcpURL(), 'http', '--method', 'resources/list');
  assert.ok(resources.some((r) => r.uri === 'demo://guide'));
  const { resourceTemplates } = await inspector(mcpURL(), 'http', '--method', 'resources/templates/list');
  assert.equal(resourceTemplates[0].uriTemplate, 'demo://colors/{name}');
  const teal = await inspector(mcpURL(), 'http', '--method', 'resources/read', '--uri', 'demo://colors/teal');
  assert.equal(teal.contents[0].text, '#008080');
});

test('Inspector: lists and gets prompts', async () => {
  const { prompts } = await inspector(mcpURL(), 'http', '--method', 'prompts/list');
  assert.deepEqual(prompts.map((p) => p.name).sort(), ['review', 'trip']);
  const trip = await inspector(mcpURL(), 'http', '--method', 'prompts/get', '--prompt-name', 'trip', '--prompt-args', 'city=Lisbon');
  assert.match(trip.messages[0].content.text, /Lisbon/);
});
