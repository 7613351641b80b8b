import React, { createContext, useContext, useEffect, useState } from 'react';
import { api, type Analyst } from './api';

const nobody: Analyst = { login: '', role: 'Viewer', can_triage: false, can_admin: false };
const Context = createContext<Analyst>(nobody);

/** Who looks at the page and what the backend will let them do; the backend checks again on every call. */
export function AnalystProvider({ children }: React.PropsWithChildren) {
  const [analyst, setAnalyst] = useState(nobody);
  useEffect(() => {
    let gone = false;
    api.me().then(
      (me) => !gone && setAnalyst(me),
      () => undefined // A viewer's rights are what is left; the page's own request says what is wrong.
    );
    return () => {
      gone = true;
    };
  }, []);
  return <Context.Provider value={analyst}>{children}</Context.Provider>;
}

export const useAnalyst = () => useContext(Context);
