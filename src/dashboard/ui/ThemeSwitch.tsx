/** Light or dark: the system's setting, unless the person chooses. The choice is stored in this browser. */
import { useState } from "react"
import { Button } from "./parts.tsx"

type Theme = "system" | "light" | "dark"

const place = "columba.theme"
const next: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" }
const words: Readonly<Record<Theme, string>> = { system: "Auto", light: "Light", dark: "Dark" }

/** A browser may refuse to store anything. */
const read = (): Theme => {
  try {
    const kept = localStorage.getItem(place)
    return kept === "light" || kept === "dark" ? kept : "system"
  } catch {
    return "system"
  }
}

const keep = (theme: Theme): void => {
  try {
    if (theme === "system") localStorage.removeItem(place)
    else localStorage.setItem(place, theme)
  } catch {
    // Then the choice lasts as long as this page.
  }
}

export const applyTheme = (theme: Theme = read()): void => {
  if (theme === "system") delete document.documentElement.dataset["theme"]
  else document.documentElement.dataset["theme"] = theme
}

export const ThemeSwitch = () => {
  const [theme, setTheme] = useState(read)
  return (
    <Button
      kind="quiet"
      label={`Theme: ${words[theme]}`}
      onClick={() => {
        const chosen = next[theme]
        keep(chosen)
        applyTheme(chosen)
        setTheme(chosen)
      }}
    >
      {words[theme]}
    </Button>
  )
}
