/**
 * Atoms in React: components read an atom and are drawn again when it changes. The published binding imports modules
 * that this version of Effect does not have, and this is the only part of it that is needed.
 */
import { AtomRegistry } from "effect/reactivity"
import type { Atom } from "effect/reactivity"
import { createContext, useCallback, useContext, useSyncExternalStore } from "react"

export const makeRegistry = () => AtomRegistry.make({ defaultIdleTTL: 400 })

export const RegistryContext = createContext(makeRegistry())

export const useAtomValue = <A>(atom: Atom.Atom<A>): A => {
  const registry = useContext(RegistryContext)
  const subscribe = useCallback((changed: () => void) => registry.subscribe(atom, changed), [registry, atom])
  const read = useCallback(() => registry.get(atom), [registry, atom])
  return useSyncExternalStore(subscribe, read)
}

export const useAtomSet = <R, W>(atom: Atom.Writable<R, W>): (value: W) => void => {
  const registry = useContext(RegistryContext)
  return useCallback((value: W) => registry.set(atom, value), [registry, atom])
}

export const useAtom = <R, W>(
  atom: Atom.Writable<R, W>
): readonly [R, (value: W) => void] => [useAtomValue(atom), useAtomSet(atom)]

/** Reads the atom anew. */
export const useAtomRefresh = <A>(atom: Atom.Atom<A>): () => void => {
  const registry = useContext(RegistryContext)
  return useCallback(() => registry.refresh(atom), [registry, atom])
}
