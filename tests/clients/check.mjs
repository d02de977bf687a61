// Drives every case of cases.json through the npm client @servicestack/client: check.mjs MODULES ADDRESS VARIABLES KEYS
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const [modules, address, variablesFile, keysFile] = process.argv.slice(2)
const { JsonServiceClient } = createRequire(`${modules}/`)('@servicestack/client')
const read = file => JSON.parse(readFileSync(file, 'utf8'))
const [variables, keys] = [read(variablesFile), read(keysFile)]
let checked = 0
const failed = []

function filled(value) {
  if (typeof value === 'string') {
    if (value.startsWith('$') && value.slice(1) in variables) return variables[value.slice(1)]
    return Object.entries(variables).reduce((text, [name, is]) => text.replaceAll(`$${name}`, is), value)
  }
  if (Array.isArray(value)) return value.map(filled)
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, filled(inner)]))
  return value
}

function check(what, isRight, told) {
  checked += 1
  if (!isRight) failed.push(`${what}: ${JSON.stringify(told)}`)
}

function client(key) {
  const made = new JsonServiceClient(`http://${address}`)
  if (key !== 'None') made.bearerToken = keys[key]
  return made
}

function request(op, args) {
  const Request = class {
    getTypeName() { return op }
    getMethod() { return 'GET' }
    createResponse() { return {} }
  }
  return Object.assign(new Request(), args)
}

function forms({ op, path, args, key = 'SuperUser' }) {
  const old = client(key)
  old.useBasePath('')
  return [
    ['/api/{Op}', () => client(key).get(request(op, args))],
    ['/json/reply/{Op}', () => old.get(request(op, args))],
    ['path', () => client(key).get(`/api/${path}`, args)],
  ]
}

for (const test of filled(read(new URL('cases.json', import.meta.url)))) {
  for (const [form, ask] of forms(test)) {
    const what = `npm ${form} ${test.op} ${JSON.stringify(test.args)}`
    let answer, error
    try { answer = await ask() } catch (told) { error = told }
    if (test.error) {
      const [, code, message] = test.error
      const of = error?.responseStatus
      check(what, of?.errorCode === code, { expected: code, got: answer ?? error })
      check(what, of?.message?.includes(message), { expected: message, got: of })
      if (test.field) check(what, of?.errors?.[0]?.fieldName === test.field, { expected: test.field, got: of })
      continue
    }
    if (error) { check(what, false, error); continue }
    for (const [name, value] of Object.entries(test.equal)) check(what, answer[name] === value, { name, value, got: answer[name] })
    for (const name of test.present ?? []) check(what, name in answer, { missing: name })
    if ('length' in test) check(what, answer.results?.length === test.length, { expected: test.length, got: answer.results?.length })
  }
}
const basic = new JsonServiceClient(`http://${address}`)
basic.setCredentials('anybody', keys.SuperUser)
check('basic', (await basic.get(request('Ping', {}))).version, 'no version')

for (const line of failed) console.error(`FAILED ${line}`)
console.log(`npm: ${checked - failed.length} of ${checked} checks passed`)
process.exit(failed.length > 0 || checked < 60 ? 1 : 0)
