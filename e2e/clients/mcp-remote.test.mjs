// mcp-remote 0.15: hosts that only know stdio, in both protocols it can speak to us.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { Arrivals, assertSteps, eventually, kitchen, mcpURL, textOf } from './lib.mjs';

const mcpRemote = join(dirname(createRequire(import.meta.url).resolve('mcp-remote/package.json')), 'dist', 'proxy.js');

async function connect(...flags) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [mcpRemote, mcpURL().href, '--allow-http', ...flags],
    env: process.env,
    stderr: 'pipe',
  });
  const errors = [];
  let log = '';
  transport.stderr.on('data', (chunk) => { log += chunk; });
  const client = new Client({ name: 'e2e-host', version: '1.0.0' }, { capabilities: { elicitation: { form: {} }, sampling: {} } });
  client.onerror = (e) => errors.push(e);
  try {
    await client.connect(transport, { timeout: 20_000 });
  } catch (e) {
    throw new Error(`${e.message}\nmcp-remote said:\n${log}`);
  }
  return { client, errors, log: () => log };
}

for (const flags of [[], ['--protocol', 'auto'], ['--transport', 'sse-only']]) {
  test(`mcp-remote ${flags.join(' ')}`.trim(), async (t) => {
    const { client, errors, log } = await connect(...flags);
    t.after(() => client.close());

    await t.test('lists and calls tools', async () => {
      assert.equal(client.getServerVersion().name, 'causeway-demo', log());
      const { tools } = await client.listTools();
      assert.ok(tools.some((tool) => tool.name === 'add'));
      const sum = await client.callTool({ name: 'add', arguments: { a: 2, b: 40 } });
      assert.equal(textOf(sum), '42');
    });

    await t.test('reads resources, gets prompts, completes', async () => {
      const teal = await client.readResource({ uri: 'demo://colors/teal' });
      assert.equal(teal.contents[0].text, '#008080');
      const trip = await client.getPrompt({ name: 'trip', arguments: { city: 'Lisbon' } });
      assert.match(trip.messages[0].content.text, /Lisbon/);
      const { completion } = await client.complete({ ref: { type: 'ref/prompt', name: 'trip' }, argument: { name: 'city', value: 'li' } });
      assert.deepEqual(completion.values, ['Lima', 'Lisbon']);
    });

    await t.test('gets a result of 1 MiB', async () => {
      assert.equal(textOf(await client.callTool({ name: 'report', arguments: {} })).length, 1 << 20);
    });

    await t.test('answers elicitation and sampling', async () => {
      client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { day: '2026-12-24', people: 2 } }));
      client.setRequestHandler(CreateMessageRequestSchema, () => (
        { model: 'e2e-model', role: 'assistant', content: { type: 'text', text: 'rain on the causeway' } }));
      const booked = await client.callTool({ name: 'book_table', arguments: { restaurant: 'Da Nino' } });
      assert.equal(textOf(booked), 'Booked at Da Nino: 2026-12-24, 2 people, inside.');
      const haiku = await client.callTool({ name: 'haiku', arguments: { topic: 'rain' } });
      assert.match(textOf(haiku), /^rain on the causeway/);
    });

    await t.test('gets progress', async () => {
      const steps = [];
      errors.length = 0;
      await client.callTool({ name: 'bake', arguments: { steps: 4, milliseconds: 20 } }, undefined, { onprogress: (p) => steps.push(p.progress) });
      await assertSteps(steps, 4, errors);
    });

    // With --protocol auto mcp-remote 0.15.1 posts notifications/cancelled, which has no
    // meaning in 2026-07-28, and keeps the stream open: nothing a server could notice.
    if (!flags.includes('auto')) {
      await t.test('cancels a call', async () => {
        const before = await kitchen(client);
        const abort = new AbortController();
        const call = client.callTool({ name: 'bake', arguments: { steps: 100, milliseconds: 100 } }, undefined, {
          signal: abort.signal, onprogress: () => abort.abort('enough'),
        });
        await assert.rejects(call);
        await eventually(async () => (await kitchen(client)).stopped > before.stopped);
      });
    }

    await t.test('is told about changes', async () => {
      const updates = new Arrivals();
      const changes = new Arrivals();
      client.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => updates.push(n.params.uri));
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => changes.push('changed'));
      await client.subscribeResource({ uri: 'demo://board' });
      // With --protocol auto it answers subscribe at once and opens the stream for it a little later.
      await eventually(async () => {
        await client.callTool({ name: 'post_note', arguments: { note: 'by way of mcp-remote' } });
        return updates.length > 0;
      });
      assert.equal(await updates.next(), 'demo://board');
      await client.callTool({ name: 'surprise', arguments: { shown: true } });
      await changes.next();
      await client.callTool({ name: 'surprise', arguments: { shown: false } });
      await changes.next();
    });
  });
}
