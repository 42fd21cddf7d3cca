// The file of the SQLite store: made, recognised, checked before anything is trusted to it.
import { accessSync, closeSync, constants, openSync, statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'

/** Longest wait inside SQLite for a lock, during which the process does nothing else. Milliseconds. */
const lockTime = 5
/** The same while the process starts. */
const lockTimeAtStart = 2_000
/** After this a process that finds the file locked again and again does not start. Milliseconds. */
const patienceAtStart = 5_000
/** "coat": tells our files from other databases. */
const applicationId = 0x636f6174
const version = 1

// One counter numbers everything. It begins with the clock, so that it also grows when the file is made anew.
const schema = `
  CREATE TABLE counter (number INTEGER NOT NULL) STRICT;
  CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, number INTEGER NOT NULL, until INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
  CREATE INDEX entries_until ON entries (until);
  CREATE TABLE leases (key TEXT PRIMARY KEY, fence INTEGER NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_until ON leases (until);
  CREATE TABLE logs (name TEXT NOT NULL, number INTEGER NOT NULL, entry TEXT NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (name, number)) STRICT, WITHOUT ROWID;
  CREATE INDEX logs_until ON logs (until);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${version};
`
// Added to files that were made without it. Those who know nothing of it are not disturbed.
const additions = `
  CREATE TABLE IF NOT EXISTS counts (key TEXT PRIMARY KEY, total INTEGER NOT NULL, until INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS counts_until ON counts (until);
`

/**
 * Opens the database in the file `path`, which is made, readable for its owner only, if it is not there.
 * @throws Error saying what is wrong with the file
 */
export function openDatabase(path: string, now: () => number): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    makeFile(path)
    // Loaded here and not above, because it costs those who do not use it, and says on Node 22 that it is new.
    const sqlite = process.getBuiltinModule('node:sqlite')
    db = new sqlite.DatabaseSync(path, { timeout: lockTimeAtStart })
    prepareInTime(db, now)
    requirePrivate(path)
    db.exec(`PRAGMA busy_timeout = ${lockTime}`)
    return db
  } catch (error) {
    db?.close()
    throw new Error(`Cannot open the store ${path}: ${whatIsWrong(error)}`, { cause: error })
  }
}

/** Made here, because SQLite would make it readable for everybody; the files beside it get the mode of this one. */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error
    // Only looked at: to open and close it would give up the locks that this process may have on it.
    if (statSync(path).isDirectory()) throw new Error('it is a folder')
    accessSync(path, constants.R_OK | constants.W_OK)
  }
}

/** Where files have owners: one that was there may have been made for everybody, and so would be the log beside it. */
function requirePrivate(path: string): void {
  const hasOwner = process.getuid !== undefined
  if (hasOwner && (statSync(path).mode & 0o077) !== 0) throw new Error('others may read it: chmod 600')
}

/** Again and again while the database is locked: for some of its locks, as that of the switch to WAL, SQLite does not wait. */
function prepareInTime(db: DatabaseSync, now: () => number): void {
  const deadline = performance.now() + patienceAtStart
  for (;;) {
    try {
      prepare(db, now)
      return
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      if (!isLocked(error) || performance.now() >= deadline) throw error
    }
    // The process has nothing else to do yet.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 + Math.random() * 10)
  }
}

function prepare(db: DatabaseSync, now: () => number): void {
  const pragma = (name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]
  if (pragma('quick_check(1)') !== 'ok') throw new Error('it is damaged; restore or remove it')
  if (pragma('journal_mode') !== 'wal' && pragma('journal_mode = WAL') !== 'wal')
    throw new Error('its file system cannot be shared by processes')
  waitForDisk(db, true)
  db.exec('BEGIN IMMEDIATE')
  const isEmpty = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get()?.tables === 0
  if (isEmpty) {
    db.exec(schema)
    db.prepare('INSERT INTO counter (number) VALUES (?)').run(now() * 1_000)
  }
  if (pragma('application_id') !== applicationId) throw new Error('it is the database of something else')
  if (pragma('user_version') !== version) throw new Error('it was made by another version of coatcheck; remove it')
  // Whatever forbids writing shows now.
  db.exec(`${additions} UPDATE counter SET number = number + 1; COMMIT`)
}

/**
 * Whether what is written from now on must outlast a loss of power, which costs a wait for the disk each time: an ended
 * session must not come back with the power. Without it the file is as sound, only the last transactions may be gone.
 */
export function waitForDisk(db: DatabaseSync, isPatient: boolean): void {
  db.exec(`PRAGMA synchronous = ${isPatient ? 'FULL' : 'NORMAL'}`)
}

/** SQLITE_BUSY or SQLITE_LOCKED, with whatever detail. */
export function isLocked(error: unknown): boolean {
  const { errcode } = error as { errcode?: number }
  return errcode !== undefined && ((errcode & 0xff) === 5 || (errcode & 0xff) === 6)
}

function whatIsWrong(error: unknown): string {
  const { code = '', errcode = 0, message } = error as { code?: string; errcode?: number; message: string }
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'its folder does not exist'
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not write it'
  if (code === 'EROFS') return 'its file system cannot be written'
  if ((errcode & 0xff) === 26) return 'it is not a database'
  return isLocked(error) ? 'another process keeps it locked' : message
}
