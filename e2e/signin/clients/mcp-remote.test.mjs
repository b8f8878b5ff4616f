// mcp-remote: a stdio host's way to a server that wants sign-in. Its browser is a script.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { assertRefused, documentURL, mcpURL, restart, revoke } from './lib.mjs';

const mcpRemote = join(dirname(createRequire(import.meta.url).resolve('mcp-remote/package.json')), 'dist', 'proxy.js');
const opener = fileURLToPath(new URL('./open-browser.mjs', import.meta.url));

async function connect(dir, ...flags) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [mcpRemote, mcpURL.href, '--allow-http', '--host', '127.0.0.1', ...(documentURL ? ['--client-metadata-url', documentURL] : []), ...flags],
    env: { ...process.env, MCP_REMOTE_CONFIG_DIR: dir, BROWSER: opener, OPENED: join(dir, 'opened') },
    stderr: 'pipe',
  });
  let log = '';
  transport.stderr.on('data', (chunk) => { log += chunk; });
  const client = new Client({ name: 'e2e-host', version: '1.0.0' });
  try {
    await client.connect(transport, { timeout: 60_000 });
  } catch (e) {
    throw new Error(`${e.message}\nmcp-remote said:\n${log}`);
  }
  const says = async (name) => {
    try {
      const r = await client.callTool({ name: 'whoami', arguments: {} }, undefined, { timeout: 30_000 });
      assert.equal(r.content[0].text, `You are ${name}.`);
    } catch (e) {
      throw new Error(`${e.message}\nmcp-remote said:\n${log}`);
    }
  };
  return { client, says, log: () => log };
}

/** One of mcp-remote's files, whichever folder it is in. */
async function file(dir, suffix) {
  const found = (await readdir(dir, { recursive: true })).filter((f) => f.endsWith(suffix));
  assert.equal(found.length, 1, `${suffix}: ${found}`);
  return join(dir, found[0]);
}
const kept = async (dir, suffix) => JSON.parse(await readFile(await file(dir, suffix), 'utf8'));
const opened = async (dir) => (await readFile(join(dir, 'opened'), 'utf8').catch(() => '')).split('\n').filter(Boolean).length;

test('mcp-remote signs in once, and stays signed in over kill -9 of the server and a start of its own', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'mcp-remote-'));
  t.after(() => rm(dir, { recursive: true, force: true }));

  const first = await connect(dir);
  await first.says('alice');
  assert.equal(await opened(dir), 1, 'the browser was opened once');
  await restart();
  await first.says('alice');
  await first.client.close();

  const clientID = documentURL ?? (await kept(dir, 'client_info.json')).client_id;
  const before = await kept(dir, 'tokens.json');
  await revoke(before.access_token, clientID);
  const second = await connect(dir);
  await second.says('alice');
  const after = await kept(dir, 'tokens.json');
  assert.notEqual(after.access_token, before.access_token, 'it refreshed');
  assert.equal(await opened(dir), 1, 'without asking');
  await second.client.close();

  await revoke(after.refresh_token, clientID);
  await assertRefused(after.access_token);
  const third = await connect(dir);
  await third.says('alice');
  assert.equal(await opened(dir), 2, 'after a revocation the person is asked again');
  await third.client.close();
});
