/**
 * The completion scripts, each in its own shell as a user loads it. A shell that this machine does not have is installed
 * from Debian's packages.
 */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshDirectory } from "../support/directory.ts"
import { findPrograms } from "../support/servers/ServerSource.ts"
import { runProgram } from "./support/runProgram.ts"

/** Does what bash does before it calls the function of a command. */
const bash = `
source "$1"
function=$(complete -p columba)
function=\${function##*-F }
read -ra COMP_WORDS <<<"$2"
[[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_LINE=$2
COMP_POINT=\${#2}
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
"\${function%% *}" columba "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "\${COMPREPLY[@]}"
`

/** Types the line and a tab into a zsh in a terminal, which records the input of its completion system, and then ends. */
const zsh = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "autoload -Uz compinit; compinit -u -D; source '$1'; source '\${0:A:h}/hooks.zsh'; print '<''ready>'"
zpty -r -m shell out '*<ready>*'
zpty -n -w shell "$2"$'\\t'
zpty -r -m shell out '*<end>*'
print -r -- "$out" | tr -d '\\r' | sed -n 's/.*<hit>//p'
`

const zshHooks = `
columba-end () { print -r -- '<end>'; exit }
comppostfuncs=(columba-end)
bindkey '^I' complete-word
compadd () {
  if [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
    typeset -a hits
    builtin compadd -A hits "$@"
    (( $#hits )) && print -rl -- '<hit>'$^hits
  fi
  builtin compadd "$@"
}
`

const fish = `
source $argv[1]
complete -C $argv[2] | string replace -r '\\t.*' ''
`

const shells = {
  bash: { script: bash, args: ["--norc", "--noprofile"] },
  zsh: { script: zsh, args: ["-f"] },
  fish: { script: fish, args: ["--no-config"] }
}

const lines: ReadonlyArray<readonly [line: string, offers: Array<string>, notOffered?: ReadonlyArray<string>]> = [
  ["columba dev", ["devices"], ["gateways", "serve"]],
  ["columba ", ["serve", "top", "devices", "gateways", "events", "keys", "doctor"]],
  ["columba devices ", ["list", "add", "login", "explain", "release"], ["tail", "revoke"]],
  ["columba events tail --", ["--after", "--device", "--kind", "--json", "--url"], ["--scope"]],
  ["columba devices list --", ["--state", "--json"], ["--scope", "--after"]],
  ["columba keys list --", ["--json", "--url"], ["--state"]],
  ["columba keys add --scope ", ["read", "send", "manage", "admin"], ["list"]]
]

describe("the completion script", () => {
  it.live.each(["bash", "zsh", "fish"] as const)(
    "of %s offers the words that fit the line, in the shell itself",
    (name) =>
      Effect.gen(function*() {
        const wanted = { server: name, programs: [name], directories: ["/usr/bin"], debianPackage: name }
        const shell = join(yield* findPrograms(wanted), name)
        const cwd = yield* freshDirectory
        const made = yield* runProgram(["--completions", name], { cwd })
        assert.strictEqual(made.code, 0, made.err)
        // It is longer than a pipe takes at once.
        assert.match(made.out, /###-end-columba-completions-###\n$/)
        const completions = join(cwd, `completions.${name}`)
        writeFileSync(completions, made.out)
        writeFileSync(join(cwd, "hooks.zsh"), zshHooks)
        const { args, script } = shells[name]
        writeFileSync(join(cwd, "ask"), script)
        for (const [line, offers, notOffered = []] of lines) {
          const told = execFileSync(shell, [...args, join(cwd, "ask"), completions, line], {
            cwd,
            encoding: "utf8",
            env: { PATH: process.env["PATH"], HOME: cwd, TERM: "dumb" },
            // A shell that waits for more.
            timeout: 60_000
          })
          const given = told.split("\n").map((one) => one.trim()).filter((one) => one !== "")
          assert.includeMembers(given, offers, `${name}: ${line}`)
          for (const one of notOffered) assert.notInclude(given, one, `${name}: ${line}`)
        }
      })
  )
})
