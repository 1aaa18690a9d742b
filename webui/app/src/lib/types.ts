// What the gateway's API says, as the page reads it. The OpenAPI document is the master.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Role = "viewer" | "operator" | "admin";
export type Level = "note" | "warning" | "error";
export type State = "good" | "uncertain" | "bad" | "silent" | "unknown";
export type List<T> = { items: T[]; next: string | null };

export type User = { name: string; role: Role; via: string; expires: string | null };
export type Session = { claimed: boolean; gateway: string; version: string; https: boolean; user: User | null };
export type Account = { name: string; role: Role; created: string; last_login: string | null };
export type Token = {
  id: string;
  name: string;
  role: Role;
  user: string;
  created: string;
  expires: string | null;
  last_used: string | null;
  token?: string;
};
export type Act = { id: number; at: string; who: string; from: string; what: string; target: string; detail: string; result: string };

export type Health = {
  code: string;
  level: Level;
  subject: string;
  title: string;
  detail: string;
  cause: string;
  next: string;
  since: string;
};
export type ClassCount = { class: string; depth: number; bytes: number };
export type Upstream = {
  name: string;
  kind: string;
  target: string;
  connected: boolean;
  sessions: number;
  delivered: number;
  rejected: number;
  in_flight: number;
  outstanding: number;
  oldest_at: string | null;
  rate_out: number;
  drain_s: number | null;
  last_delivered: string | null;
  proof_until: string | null;
  proof_renews: boolean;
  enabled: boolean;
};
export type Adapter = {
  name: string;
  kind: string;
  connected: boolean;
  connects: number;
  reads: number;
  readings: number;
  misses: number;
  messages: number;
  rejected: number;
  silent_devices: number;
  recoveries: number;
  devices: number;
};
export type Overview = {
  gateway: { id: string; version: string; started: string; uptime_s: number; demo: boolean };
  clock: { now: string; trusted: boolean };
  log: {
    depth: number;
    bytes: number;
    max_bytes: number;
    file_bytes: number;
    next_seq: number;
    oldest_at: string | null;
    rate_in: number;
    given_up: { gaps: number; messages: number };
    classes: ClassCount[];
  };
  upstreams: Upstream[];
  adapters: Adapter[];
  devices: Record<State | "total", number>;
  storage: {
    path: string;
    free_bytes: number;
    total_bytes: number;
    written_bytes: number | null;
    flushes: number;
    appended: number;
    appended_bytes: number;
    flash_used: number | null;
  };
  health: Health[];
  link_switch: boolean | null;
};

export type Latest = { value: Json; quality: string; at: number; unit?: string };
export type Values = Record<string, Latest>;
export type Device = {
  id: string;
  adapter: string;
  kind: string;
  state: State;
  points: number;
  last_at: string | null;
  class: string;
  values: Values;
};
export type Writable = {
  type: "number" | "boolean" | "label" | "text";
  min: number | null;
  max: number | null;
  step: number | null;
  labels: Record<string, string>;
};
export type Point = {
  name: string;
  unit: string | null;
  labels: Record<string, string>;
  min: number | null;
  max: number | null;
  precision: number | null;
  report: string;
  writable: Writable | null;
  latest: Latest | null;
};
export type DeviceInFull = Omit<Device, "points" | "values"> & {
  points: Point[];
  health: Health[];
  section: { file: string | null; adapter: string };
  watched_s: number | null;
};
export type Series = { unit: string | null; at: number[]; last: Json[]; min: (number | null)[]; max: (number | null)[] };
export type Trend = {
  device: string;
  from: number;
  to: number;
  kept_since: number | null;
  bucket_ms: number;
  complete: boolean;
  points: Record<string, Series>;
  gaps: { from: number; to: number; count: number; reason: string }[];
};
export type LookLine = {
  point: string;
  value: Json;
  quality: string;
  unit: string | null;
  request: string;
  raw: string;
  detail: string;
  took_ms: number;
};
export type Look = { device: string; identity: Record<string, string>; lines: LookLine[] };

export type Reader = { name: string; outstanding: number; oldest: { seq: number; at: string } | null; settled: number };
export type Log = {
  depth: number;
  bytes: number;
  max_bytes: number;
  file_bytes: number;
  next_seq: number;
  oldest: { seq: number; at: string } | null;
  classes: ClassCount[];
  readers: Reader[];
  given_up: { gaps: number; messages: number };
  counters: Record<string, number>;
};
export type Gap = {
  reader: string;
  device: string;
  class: string;
  reason: string;
  count: number;
  first: string;
  last: string;
  first_seq: number;
  last_seq: number;
  told: boolean;
};
export type Message = {
  seq: number;
  id: string;
  device: string;
  class: string;
  at: string;
  time_quality: string;
  properties: Record<string, string>;
  content_type: string | null;
  body: Json;
  body_base64: string | null;
};
export type Event = { id: number; at: string; level: string; target: string; text: string; fields: Record<string, string> };

export type Fault = {
  severity: "error" | "warning";
  file: string | null;
  line: number | null;
  path: string;
  what: string;
  next: string;
};
export type Trial = {
  id: string;
  who: string;
  began: string;
  ends: string;
  left_s: number;
  comment: string;
  worse: { subject: string; code: string }[];
};
export type Config = {
  etag: string;
  path: string;
  writable: boolean;
  files: { name: string; bytes: number }[];
  problems: Fault[];
  trial: Trial | null;
};
export type Drafts = Record<string, string | null>;
type Names = { added: string[]; removed: string[]; changed: string[] };
export type Change = { adapters: Names; upstreams: Names; restart_needed: string[] };
export type Cost = { devices: number; unasked: number; per_minute: number; bytes_per_day: number; blocks_per_day: number };
export type Forecast = { before: Cost | null; after: Cost };
export type Check = { ok: boolean; problems: Fault[]; change: Change | null; forecast: Forecast | null };
export type Edit = { at: (string | number)[]; set?: Json; remove?: boolean; append?: Json; file?: string };
export type Edited = { files: Drafts; check: Check };
export type Applied = { etag: string; change: Change; trial: Trial | null };
export type Past = {
  id: string;
  at: string;
  who: string;
  comment: string;
  files: string[];
  result: "applied" | "trial" | "kept" | "rolled-back";
  why: string | null;
};
export type PastInFull = Past & { diff: string; before: Drafts; after: Drafts };
export type Section = { _file?: string; name: string; kind: string; device?: ({ id: string } & { [key: string]: Json })[] } & { [key: string]: Json | undefined };
export type Sections = { etag: string; adapter: Section[]; upstream: Section[]; [key: string]: Json | Section[] };
export type Backup = { gateway: string; made: string; files: Record<string, string | null>; missing: string[] };
export type Network = { host: string; addresses: string[]; interfaces: string[]; routed: boolean; name_servers: string[] };
export type Certificate = { own: boolean; file: string; subject: string; names: string[]; fingerprint: string; until: string };
export type CheckSeen = { code: string; verdict: "fine" | "skipped" | "note" | "warning" | "error"; subject: string; seen: string; title: string; cause: string; next: string };
export type Kind = { name: string; summary: string; readme: string; example: string; scan: Json; pair: Json };
export type Template = {
  name: string;
  packaged: boolean;
  brand: string;
  models: string[];
  kind: string;
  summary: string;
  source: string;
  notes: string;
  bus: Record<string, Json>;
  points: { [key: string]: Json }[];
  recognises: boolean;
  text: string;
};
export type Match = { template: string; fits: boolean; values: { point: string; value: Json; unit: string | null; detail: string }[] };
export type Finding = { id: string; facts: { name: string; value: Json }[]; section: { [key: string]: Json } | null; known: string | null };
export type Scan = {
  id: string;
  kind: string;
  options: { [key: string]: Json };
  who: string;
  began: string;
  state: "running" | "finished" | "stopped" | "failed";
  why: string | null;
  done: number;
  total: number;
  what: string;
  longest_s: number;
  took_s: number;
  revision: number;
  found: Finding[];
  more: number;
};
export type Pairing = {
  id: string;
  kind: string;
  options: { [key: string]: Json };
  who: string;
  state: "running" | "paired" | "stopped" | "failed";
  why: string | null;
  what: string;
  question: { ask: "passkey" } | { ask: "show" | "same"; digits: string } | null;
  revision: number;
};
export type Kinds = { adapters: Kind[]; upstreams: Kind[] };
export type Tested = { ok: boolean; steps: { step: string; ok: boolean; detail: string; took_ms: number }[] };

export type Command = { id: string; outcome: string | null; values: Record<string, Json>; reason: string };
export type InboxEntry = {
  seq: number;
  state: "waiting" | "begun" | "dead";
  outcome: string | null;
  device: string;
  id: string;
  source: string;
  who: string;
  what: string;
  came: string;
  deliveries: number;
  reason: string;
};
export type Write = { at: string; who: string; source: string; device: string; event: string; what: string };

export type Hub = {
  enabled: boolean;
  listening: { door: string; address: string }[];
  host: string;
  has_authority: boolean;
  sessions: number;
  accepted: number;
  refused: number;
  messages: number;
};
export type HubDevice = {
  device: string;
  enabled: boolean;
  reason: string | null;
  proof: string;
  etag: string;
  created: string;
  changed: string;
  connected: string | null;
  remote: string | null;
  methods: boolean | null;
  waiting: number | null;
};
export type HubKeys = { device: string; proof: string; primary: string | null; secondary: string | null; host: string; connection_string: string | null };
export type Sent = { message_id: string; expires: string };
export type MethodAnswer = { status: number; payload: Json };
export type TwinInFull = { version: number; tags: Json; properties: { desired: Json; reported: Json } };
export type HubEvent = {
  number: number;
  kind: string;
  at: string;
  device: string | null;
  module: string | null;
  remote: string | null;
  detail: string;
  code: number | null;
  count: number;
};
export type Group = {
  group: string;
  consumers: { consumer: string; partitions: number[]; waiting: boolean }[];
  partitions: { partition: number; seq: number; sequence_number: number | null; changed: string }[];
};
