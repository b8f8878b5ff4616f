// What the client tests share: where the demo is, and small ways to wait.
import assert from 'node:assert/strict';
import net from 'node:net';

export const base = process.env.CAUSEWAY_TEST_URL;
assert.ok(base, 'CAUSEWAY_TEST_URL is set by the Go test that runs this');
export const mcpURL = () => new URL('/mcp', base);
export const sseURL = () => new URL('/sse', base);
export const wsURL = () => new URL(base.replace(/^http/, 'ws') + '/mcp');

/** A queue of what arrived; next() waits for the one after. */
export class Arrivals {
  #items = [];
  #waiting = [];
  push(item) {
    const w = this.#waiting.shift();
    if (w) w(item); else this.#items.push(item);
  }
  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
  /** Waits for the first item that fits. */
  async find(fits) {
    for (;;) {
      const item = await this.next();
      if (fits(item)) return item;
    }
  }
  get length() { return this.#items.length; }
}

/** Asks until it is so; the test's own timeout ends it otherwise. */
export async function eventually(probe) {
  for (;;) {
    const result = await probe();
    if (result) return result;
    await new Promise((r) => setTimeout(r, 20));
  }
}

/**
 * Progress came in order, each step once. The TypeScript SDKs hand notifications out a
 * tick later than results: what arrives together with the result has nobody to go to any
 * more, and is told to onerror. It was sent all the same.
 */
export async function assertSteps(steps, n, errors) {
  const late = () => errors.map((e) => lateProgress.exec(e.message)).filter(Boolean).map((m) => JSON.parse(m[1]).params.progress);
  for (let waited = 0; steps.length + late().length < n && waited < 100; waited++) await new Promise((r) => setTimeout(r, 20));
  assert.deepEqual([...steps, ...late()], Array.from({ length: n }, (_, i) => i + 1));
}

export const lateProgress = /progress notification for an unknown token: (.*)$/;

export const textOf = (result) => result.content.filter((c) => c.type === 'text').map((c) => c.text).join('');

/** The state of the demo's kitchen, read with any client. */
export async function kitchen(client) {
  const r = await client.readResource({ uri: 'demo://kitchen' });
  return JSON.parse(r.contents[0].text);
}

/**
 * A TCP proxy to the demo whose connections can be cut, as a network cuts them.
 * Its onData sees what the server sends; cut(pair) resets a connection, cutGETs()
 * those that carry a GET stream.
 */
export async function startProxy() {
  const target = new URL(base);
  const pairs = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port), target.hostname);
    const pair = { client, upstream, get: false };
    pairs.add(pair);
    const end = () => { pairs.delete(pair); client.destroy(); upstream.destroy(); };
    client.on('error', end).on('close', end);
    upstream.on('error', end).on('close', end);
    client.on('data', (chunk) => { pair.get = chunk.subarray(0, 4).toString() === 'GET '; upstream.write(chunk); });
    upstream.on('data', (chunk) => { client.write(chunk); proxy.onData?.(chunk.toString('latin1'), pair); });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy = {
    url: new URL(`http://127.0.0.1:${server.address().port}/mcp`),
    onData: undefined,
    cuts: 0,
    cut(pair) {
      proxy.cuts++;
      pair.client.resetAndDestroy();
      pair.upstream.resetAndDestroy();
    },
    cutGETs() { for (const p of pairs) if (p.get) proxy.cut(p); },
    close() {
      for (const p of pairs) { p.client.destroy(); p.upstream.destroy(); }
      server.close();
    },
  };
  return proxy;
}
