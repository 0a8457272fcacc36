/** Shows an error for a page that could not be drawn; the other pages and the frame stay as they are. */
import { Component } from "react"
import type { ReactNode } from "react"
import { Button, Failure } from "./parts.tsx"

interface Props {
  readonly children: ReactNode
}

export class PageBoundary extends Component<Props, { readonly failed: boolean }> {
  override state = { failed: false }

  static getDerivedStateFromError() {
    return { failed: true }
  }

  override render() {
    if (!this.state.failed) return this.props.children
    return (
      <main className="page narrow">
        <Failure message="This page could not be shown. This is a defect of the dashboard; the server is not affected." />
        <p className="crumb">
          <Button onClick={() => this.setState({ failed: false })}>Try again</Button>
        </p>
      </main>
    )
  }
}
