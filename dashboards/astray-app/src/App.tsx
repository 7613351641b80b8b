import React, { lazy } from 'react';
import { Navigate, Route, Routes } from 'react-router-dom';
import { type AppRootProps } from '@grafana/data';
import { ROUTES } from './constants';
import { AnalystProvider } from './analyst';

const Triage = lazy(() => import('./pages/Triage'));
const Alert = lazy(() => import('./pages/Alert'));
const Entity = lazy(() => import('./pages/Entity'));
const Fleet = lazy(() => import('./pages/Fleet'));

export default function App(_: AppRootProps) {
  return (
    <AnalystProvider>
      <Routes>
        <Route path={ROUTES.Triage} element={<Triage />} />
        <Route path={ROUTES.Alert} element={<Alert />} />
        <Route path={ROUTES.Entity} element={<Entity />} />
        <Route path={ROUTES.Fleet} element={<Fleet />} />
        <Route path="*" element={<Navigate replace to={ROUTES.Triage} />} />
      </Routes>
    </AnalystProvider>
  );
}
