// What node-postgres and its parts do with a server, told on stdout: the same straight and through the bastion.
// Arguments: host, port, user, password, and "require" or the file of a CA for TLS. Found from the folder that has the packages.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const require = createRequire(`${process.cwd()}/`);
const pg = require('pg');
const Cursor = require('pg-cursor');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');

const [host, port, user, password, ca] = process.argv.slice(2);
const ssl = ca ? (ca === 'require' ? {rejectUnauthorized:false} : {ca: fs.readFileSync(ca), servername:'orders-db'}) : false;
const c = new pg.Client({host, port:+port, user, password, database:'orders', ssl});
c.on('error', e=>console.log('client error', e.message));
await c.connect();
c.on('notification', n=>console.log('heard', n.payload)); c.on('notice', n=>console.log('notice', n.message));
console.log((await c.query('SELECT $1::int AS n, $2::text AS t, $3::json AS j, now() IS NOT NULL AS x', [7, 'ä', {a:1}])).rows);
console.log((await c.query({name:'p', text:'SELECT name FROM items WHERE id = $1', values:[42]})).rows, (await c.query({name:'p', text:'SELECT name FROM items WHERE id = $1', values:[43]})).rows);
console.log((await c.query('SELECT 1 AS a; SELECT 2 AS b')).map(r=>r.rows));
try { await c.query('SELECT 1/0') } catch(e) { console.log(e.code, e.message, e.severity) }
console.log((await c.query({text:'SELECT $1::bytea AS b', values:[Buffer.from([0,255])], binary:true})).rows);
const cur = c.query(new Cursor('SELECT id FROM items ORDER BY id')); let n=0, rows; while((rows=await cur.read(100)).length) n+=rows.length; console.log(n); await cur.close();
await c.query('CREATE TEMP TABLE t (a int, b text)');
await pipeline(Readable.from(['1\tx\n','2\ty\n']), c.query(copyFrom('COPY t FROM STDIN')));
let out=''; for await (const d of c.query(copyTo('COPY t TO STDOUT'))) out+=d; console.log(out);
const channel = `p${process.pid}`; // the other run listens at the same time
await c.query(`LISTEN ${channel}`); await c.query(`NOTIFY ${channel}, 'paper'`); await c.query("DO $$ BEGIN RAISE NOTICE 'hi'; END $$");
console.log((await c.query("SELECT repeat('x', 5000000) AS x")).rows[0].x.length);
await c.end();
