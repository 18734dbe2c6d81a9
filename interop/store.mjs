// A real MinIO server for the archive. The program is what CISTERN_MINIO names; make
// sets it.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { freePort, poll } from './wait.mjs';

const USER = 'cistern';
const PASSWORD = 'cistern-interop';
const BUCKET = 'archive';

export class Store {
  /** Starts a server with an empty bucket; `dir` holds its data. */
  static async start(dir) {
    const program = process.env.CISTERN_MINIO;
    if (!program) throw new Error('CISTERN_MINIO is not set: run this with make interop');
    const store = new Store();
    // A folder that is there when the server starts is a bucket.
    fs.mkdirSync(`${dir}/minio/${BUCKET}`, { recursive: true });
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    store.child = spawn(program, ['server', '--quiet', '--address', endpoint.slice('http://'.length), `${dir}/minio`], {
      stdio: 'ignore',
      env: { ...process.env, MINIO_ROOT_USER: USER, MINIO_ROOT_PASSWORD: PASSWORD, MINIO_BROWSER: 'off', MINIO_UPDATE: 'off' },
    });
    store.url = `s3://${BUCKET}/interop?endpoint=${endpoint}&region=us-east-1&style=path`;
    /** What Cistern needs in its environment. */
    store.env = { AWS_ACCESS_KEY_ID: USER, AWS_SECRET_ACCESS_KEY: PASSWORD };
    await poll('MinIO to be ready', async () => (await fetch(`${endpoint}/minio/health/ready`)).ok);
    return store;
  }

  kill() {
    this.child?.kill('SIGKILL');
  }
}
