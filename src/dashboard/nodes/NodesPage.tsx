/** The processes that run the devices: one, or those of a cluster that share the fleet. */
import type { Node } from "../../contracts/ServerPayloads.ts"
import { mayAtom } from "../session.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { count, Empty, Loaded, Panel } from "../ui/parts.tsx"
import { Ago } from "../ui/time.tsx"
import { nodesAtom } from "./nodeAtoms.ts"

/** The self-description of a process of a cluster. */
const Share = ({ cluster }: { readonly cluster: NonNullable<Node["cluster"]> }) => {
  const { differs, given, moves, roles, shards, taken, version, weight } = cluster
  const [last] = moves
  return (
    <>
      <p className="break">
        {count(shards)} shards{weight === null ? "" : ` · weight ${weight}`} · {roles.join(", ")} · version {version}
      </p>
      {differs.length === 0
        ? null
        : <p className="tone-wait break">Its settings are not those of the others: {differs.join(", ")}.</p>}
      {last === undefined ? null : (
        <p className="note break">
          {count(taken)} shards came, {count(given)} went; the last <Ago at={last.at} />: {count(last.shards)}{" "}
          {last.direction} ({last.reason})
        </p>
      )}
    </>
  )
}

const Entry = ({ most, node }: { readonly node: Node; readonly most: number }) => {
  const { alive, aliveAt, cluster, devices, name, startedAt } = node
  return (
    <li className="entry">
      <div className="entry-main">
        <h3 className="break">{name}</h3>
        <p className="note">
          started <Ago at={startedAt} /> · last heard of <Ago at={aliveAt} />
        </p>
        {cluster === null ? null : <Share cluster={cluster} />}
        <meter className="share" min={0} max={Math.max(1, most)} value={devices} aria-label={`Devices of ${name}`} />
      </div>
      <p className="entry-state">
        {alive
          ? <span className="tone-good">runs</span>
          : <span className="tone-bad">has ended, or cannot write; its devices wait to be taken over</span>}
      </p>
      <p className="entry-number num">{count(devices)} devices</p>
    </li>
  )
}

export const NodesPage = () => {
  const { readFleet } = useAtomValue(mayAtom)
  return (
    <main className="page narrow">
      <h1>Nodes</h1>
      <Panel title="Processes that run devices">
        {!readFleet ?
          <p>This key may not see them: they belong to all devices.</p> :
          (
            <Loaded result={useAtomValue(nodesAtom)}>
              {({ items }) =>
                items.length === 0 ? <Empty>No process runs devices.</Empty> : (
                  <ul className="entries">
                    {items.map((node) => (
                      <Entry
                        key={node.name}
                        node={node}
                        most={Math.max(...items.map(({ devices }) => devices))}
                      />
                    ))}
                  </ul>
                )}
            </Loaded>
          )}
      </Panel>
    </main>
  )
}
