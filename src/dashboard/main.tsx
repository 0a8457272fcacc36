/** The dashboard: draws it into its page. */
import { createRoot } from "react-dom/client"
import { App } from "./App.tsx"
import "./styles/tokens.css"
import "./styles/base.css"
import "./styles/parts.css"
import "./styles/pages.css"
import { makeRegistry, RegistryContext } from "./ui/atoms.ts"
import { applyTheme } from "./ui/ThemeSwitch.tsx"

applyTheme()
const place = document.getElementById("app")
if (place !== null) {
  createRoot(place).render(
    <RegistryContext value={makeRegistry()}>
      <App />
    </RegistryContext>
  )
}
