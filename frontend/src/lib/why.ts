/** Of what the reasons are shown: a deployment by its name, a replica by its number, a call by its x-request-id. */
export interface WhySubject {
  kind: "deployment" | "replica" | "call";
  of: string;
  /** As people know it. */
  name: string;
}

export function whyTitle(subject: WhySubject): string {
  return subject.kind === "call" ? "Where this call's time went" : `Why ${subject.name} is where it is`;
}
