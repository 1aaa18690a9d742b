// Microsoft's Node device SDK (azure-iot-device-mqtt) as a leaf device, against the real program.
'use strict';
const { spawn, execFile, execFileSync } = require('node:child_process');
const { promisify } = require('node:util');
const fs = require('node:fs');
const path = require('node:path');
const tools = path.join(__dirname, '..', '.tools', 'node', 'node_modules');
const { Client, Message } = require(path.join(tools, 'azure-iot-device'));
const { Mqtt, MqttWs } = require(path.join(tools, 'azure-iot-device-mqtt'));

const [program, room] = process.argv.slice(2);
const state = path.join(room, 'state');
const ask = (...args) => execFileSync(program, [...args, '--state', state], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
const asJson = (...args) => JSON.parse(ask(...args, '--json'));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

async function until(what, look, limit = 60000) {
  const end = Date.now() + limit;
  for (;;) {
    let found = false;
    try {
      found = await look();
    } catch {
      // Not yet.
    }
    if (found) return found;
    assert(Date.now() < end, `not within ${limit} ms: ${what}`);
    await sleep(50);
  }
}

async function open(device, transport = Mqtt) {
  const text = ask('device', 'add', device, '--host', 'localhost').trim().split('\n').pop();
  const client = Client.fromConnectionString(text, transport);
  await client.setOptions({ ca: ask('device', 'authority') });
  await client.open();
  return client;
}

const cases = {
  async telemetry_is_acknowledged() {
    const client = await open('telemetry');
    const message = new Message(JSON.stringify({ t: 21.5 }));
    message.messageId = 'm1';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add('level', 'high & low');
    await client.sendEvent(message);
    for (let n = 0; n < 50; n += 1) await client.sendEvent(new Message(String(n)));
    await client.close();
    const device = asJson('device', 'events').filter((event) => event.device === 'telemetry');
    assert(device.every((event) => event.code === null), JSON.stringify(device));
  },

  async telemetry_over_websockets() {
    const client = await open('by-web', MqttWs);
    await client.sendEvent(new Message('x'.repeat(100000)));
    await client.close();
  },

  async c2d_messages_are_completed() {
    const client = await open('c2d');
    const got = [];
    client.on('message', (message) => {
      got.push([message.getData().toString(), message.messageId, message.properties.getValue('colour')]);
      client.complete(message, () => {});
    });
    const sent = asJson('send', 'c2d', 'hello', '--property', 'colour=a & b', '--ack', 'positive');
    await until('the message is there', () => got.length === 1);
    assert(JSON.stringify(got[0]) === JSON.stringify(['hello', sent.message_id, 'a & b']), JSON.stringify(got));
    await until('it is complete', () => asJson('device', 'feedback').length === 1);
    await client.close();
  },

  async methods_are_answered() {
    const client = await open('methods');
    client.onDeviceMethod('echo', (request, response) => response.send(201, { got: request.payload }, () => {}));
    // Not with asJson: the device that is to answer lives in this process.
    const call = ['device', 'call', 'methods', 'echo', '{"delay":5}', '--json', '--state', state];
    const answer = await until('it listens', async () => JSON.parse((await promisify(execFile)(program, call)).stdout));
    assert(answer.status === 201 && answer.payload.got.delay === 5, JSON.stringify(answer));
    await client.close();
  },

  async twins_are_read_reported_and_followed() {
    const client = await open('twins');
    const twin = await client.getTwin();
    assert(twin.properties.desired.$version === 1, JSON.stringify(twin.properties.desired));
    const changes = [];
    twin.on('properties.desired', (change) => changes.push(change));
    await new Promise((done, fail) => twin.properties.reported.update({ fw: '1.0' }, (error) => (error ? fail(error) : done())));
    await sleep(200);
    ask('device', 'twin', 'twins', '--desired', '{"interval": 30}');
    await until('the change is there', () => changes.some((change) => change.interval === 30));
    const kept = JSON.parse(ask('device', 'twin', 'twins'));
    assert(kept.properties.reported.fw === '1.0', JSON.stringify(kept));
    await client.close();
  },
};

async function main() {
  const log = fs.openSync(path.join(room, 'hub.log'), 'a');
  const listen = ['--tls', '127.0.0.1:8883', '--websocket', '127.0.0.1:443', '--name', 'localhost'];
  const hub = spawn(program, ['hub', '--state', state, ...listen], { stdio: ['ignore', log, log] });
  await until('the hub listens', () => ask('device', 'authority').includes('BEGIN CERTIFICATE'));
  let failed = 0;
  for (const [name, run] of Object.entries(cases)) {
    const begun = Date.now();
    let verdict = 'ok';
    try {
      await run();
    } catch (error) {
      failed += 1;
      verdict = `FAILED: ${error.message}`;
    }
    console.log(`${name} ... ${verdict} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  }
  if (failed) console.log(JSON.stringify(asJson('device', 'events'), null, 1).slice(-4000));
  hub.kill('SIGTERM');
  const code = await new Promise((done) => hub.on('exit', done));
  process.exit(failed || code ? 1 : 0);
}

main();
